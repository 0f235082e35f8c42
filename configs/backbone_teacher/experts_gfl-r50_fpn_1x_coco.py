# GFL with ResNet-50 on COCO: the tokens of two experts, DINOv3's and CLIP's ViT-B, teach the level P5 of the pyramid,
# each through a projection of its own, as GPFM learns from its experts.
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distill/dinov3.py', '../_base_/distill/clip.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
tokens = dict(
    type='kd_plugins.FeatureDistiller',
    student_tap='neck.fpn_convs.2',
    teacher_tap='backbone',
    kind='cosine_l1',
    resize='bilinear',
)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teachers=dict(dinov3=_base_.teacher, clip=_base_.clip),
        distillers=dict(
            dinov3=dict(source='dinov3', weight=dict(type='kd_plugins.GradientShare', value=5.0), **tokens),
            clip=dict(source='clip', weight=dict(type='kd_plugins.GradientShare', value=2.5), **tokens),
        ),
    )
)
