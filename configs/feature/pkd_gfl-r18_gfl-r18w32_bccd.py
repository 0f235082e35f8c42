# PKD on BCCD: the channels in the pyramid of the half-width GFL learn to correlate with those of the small one. The
# weight is that of the release, 6 for each of five levels, and was not tuned.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r18_bccd.py', '../_base_/distill/feature_kinds.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(weight=dict(type='kd_plugins.LinearWarmup', value=30.0, end=100), **_base_.pearson)
        ),
        **_base_.distill,
    )
)
