# The moving average of the student teaches its pyramid, for any detector with an FPN.
_base_ = './ema_features.py'
distill = dict(
    distillers=dict(
        features=dict(
            type='kd_plugins.FeatureDistiller',
            student_tap='neck.fpn_convs.*',
            kind='channel_wise',
            weight=dict(type='kd_plugins.LinearWarmup', value=10.0, end=500),
        )
    )
)
