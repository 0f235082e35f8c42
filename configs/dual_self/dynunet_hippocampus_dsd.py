# The small DynUNet with dual self-distillation. As in the release, the levels of the encoder are those before the
# bottleneck, and those of the decoder begin with it and end before the last, which feeds the network's own head.
_base_ = ['./dynunet_hippocampus.py', '../_base_/distill/dsd_levels.py', '../_base_/distill/dsd_small.py']
default_hooks = dict(
    distill=dict(type='kd_plugins.DistillHook', distillers=dict(dsd=dict(**_base_.dynunet_levels, **_base_.dsd)))
)
