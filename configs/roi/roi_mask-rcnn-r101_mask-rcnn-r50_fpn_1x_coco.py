# Mask R-CNN with ResNet-50 on COCO, taught by one with ResNet-101: classes, boxes and masks of its proposals.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r101_fpn_2x_coco/'
            'mask_rcnn_r101_fpn_2x_coco_bbox_mAP-0.408__segm_mAP-0.366_20200505_071027-14b391c7.pth',
        ),
        distillers=dict(
            roi=dict(type='kd_plugins.RoIDistiller', weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=500)),
        ),
    )
)
