# The wide DynUNet with dual self-distillation as released: encoder and decoder levels of one size share a head.
_base_ = ['./dynunet_hippocampus16.py', '../_base_/distill/dsd_levels.py', '../_base_/distill/dsd_released.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(dsd=dict(share_heads=True, **_base_.dynunet_levels, **_base_.dsd)),
    )
)
