# MGD on BCCD: from its masked pyramid, the half-width GFL generates that of the small one. The loss is a sum, so the
# weight of the release, 1e-4 for five levels at 1333x800 with 256 channels, is 56 times larger at 320x240 with 64. It
# was not tuned.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r18_bccd.py', '../_base_/distill/feature_kinds.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(weight=dict(type='kd_plugins.LinearWarmup', value=5.6e-3, end=100), **_base_.generation)
        ),
        **_base_.distill,
    )
)
