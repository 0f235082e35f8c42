# A published GFL with ResNet-101 as `teacher`, and in `distill` as the teacher of features. A
# config adds the distillers.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/'
    'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth',
)
distill = dict(type='kd_plugins.DistillHook', teacher=dict(teacher, mode='extract_feat'))
