# The wide UNETR with dual self-distillation as released. Each level has a head of its own.
_base_ = ['./unetr_hippocampus16.py', '../_base_/distill/dsd_levels.py', '../_base_/distill/dsd_released.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(dsd=dict(share_heads=False, **_base_.unetr_levels, **_base_.dsd)),
    )
)
