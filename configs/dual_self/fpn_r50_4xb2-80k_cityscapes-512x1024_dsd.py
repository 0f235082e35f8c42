# Semantic FPN on Cityscapes with dual self-distillation: stages C2 to C5 are the encoder, pyramid levels P5 to P2 the
# decoder, so that P2 teaches the coarser ones.
_base_ = ['mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py', '../_base_/distill/dsd.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(encoder='backbone.layer*', decoder='neck.fpn_convs.*', weight=0.4, **_base_.dsd),
        ),
    )
)
