# For comparison: the mean squared difference of the same feature maps, after a 1x1 convolution on the student's side.
# The weight gives it the share of the gradient that local graphs have, 0.12 of the task's in a half-trained student.
_base_ = './gfl_r18-r18w32_bccd_local.py'
default_hooks = dict(
    distill=dict(
        distillers=dict(
            graph=None,
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.*',
                kind='mse',
                weight=dict(type='kd_plugins.LinearWarmup', value=0.01, end=100),
            ),
        )
    )
)
