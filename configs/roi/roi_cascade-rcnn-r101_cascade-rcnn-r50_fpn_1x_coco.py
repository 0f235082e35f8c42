# Cascade R-CNN with ResNet-50 on COCO, taught by one with ResNet-101: classes and boxes of its proposals.
_base_ = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::cascade_rcnn/cascade-rcnn_r101_fpn_1x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
            'cascade_rcnn/cascade_rcnn_r101_fpn_1x_coco/cascade_rcnn_r101_fpn_1x_coco_20200317-0b6a2fbf.pth',
        ),
        distillers=dict(
            roi=dict(type='kd_plugins.RoIDistiller', weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=500)),
        ),
    )
)
