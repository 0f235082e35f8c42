# Plain features on BCCD, to compare other kinds with: the half-width GFL learns the mean squared difference to the
# pyramid of the small one. The weight is that of the comparison with local graphs.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r18_bccd.py', '../_base_/distill/feature_kinds.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(weight=dict(type='kd_plugins.LinearWarmup', value=0.01, end=100), **_base_.squares)
        ),
        **_base_.distill,
    )
)
