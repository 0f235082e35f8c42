# For comparison: the mean squared difference of the same feature maps, after a 1x1 convolution on the student's side.
_base_ = './gfl_r18-r18w32_bccd_local.py'
default_hooks = dict(
    distill=dict(
        distillers=dict(
            graph=None,
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student='neck.fpn_convs.*',
                kind='mse',
                weight=dict(type='kd_plugins.LinearWarmup', value=0.75, end=100),
            ),
        )
    )
)
