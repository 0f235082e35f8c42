# A published RetinaNet with ResNeXt-101 teaches features. A config adds the distillers.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
distill = dict(
    type='kd_plugins.DistillHook',
    teacher=dict(
        type='kd_plugins.FrozenTeacher',
        config='mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_1x_coco/'
        'retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth',
        mode='extract_feat',
    ),
)
