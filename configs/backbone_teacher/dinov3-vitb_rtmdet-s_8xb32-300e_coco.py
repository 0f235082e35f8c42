# RTMDet-s on COCO: the tokens of DINOv3's ViT-B teach the deepest level of the neck.
_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../_base_/distill/dinov3.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(tokens=dict(student_tap='neck.out_convs.2', **_base_.tokens)),
    )
)
