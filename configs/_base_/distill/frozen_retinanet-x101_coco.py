# A published RetinaNet with ResNeXt-101 as `teacher`, and in `distill` as the teacher of
# features. A config adds the distillers.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_1x_coco/'
    'retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth',
)
distill = dict(type='kd_plugins.DistillHook', teacher=dict(teacher, mode='extract_feat'))
