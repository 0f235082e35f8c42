# PKD on BCCD: the correlation with the channels of a wider and deeper GFL, after a 1x1 convolution. The weight is 6 for
# each of the five levels.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r34_bccd.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.*',
                kind='pearson',
                weight=dict(type='kd_plugins.LinearWarmup', value=30.0, end=100),
            )
        ),
        **_base_.distill,
    )
)
