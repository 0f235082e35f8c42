# GFL with ResNet-50 on COCO: the tokens of DINOv3's ViT-B teach the level P5 of the pyramid.
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distill/dinov3.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(tokens=dict(student_tap='neck.fpn_convs.2', **_base_.tokens)),
    )
)
