# The recipe of RTMDet's distillation on BCCD: where the normalised channels of a wider and deeper GFL are active. The
# weight is 1 for each of the five levels.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r34_bccd.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.*',
                kind='channel_wise',
                normalize='batch',
                weight=dict(type='kd_plugins.LinearWarmup', value=5.0, end=100),
            )
        ),
        **_base_.distill,
    )
)
