# RTMDet's recipe of distillation on BCCD: the half-width GFL learns where the normalised channels of the small one are
# active. The weight is that of the release, 1 for each of five levels, and was not tuned.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r18_bccd.py', '../_base_/distill/feature_kinds.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(weight=dict(type='kd_plugins.LinearWarmup', value=5.0, end=100), **_base_.normalized)
        ),
        **_base_.distill,
    )
)
