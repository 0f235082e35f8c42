# RetinaNet-R50 on COCO, whose features go through the last convolution of the head of RetinaNet-R101 (CrossKD).
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
            'retinanet/retinanet_r101_fpn_2x_coco/retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth',
        ),
        distillers=dict(cross=dict(type='kd_plugins.CrossHeadDistiller', index=3, weight=1.0)),
    )
)
