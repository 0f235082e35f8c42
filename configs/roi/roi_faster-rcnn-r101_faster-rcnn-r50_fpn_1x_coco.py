# Faster R-CNN with ResNet-50 on COCO, taught by one with ResNet-101: classes and boxes of its proposals.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/'
            'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth',
        ),
        distillers=dict(
            roi=dict(type='kd_plugins.RoIDistiller', weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=500)),
        ),
    )
)
