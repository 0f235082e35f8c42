# The half-width UNet on ISBI, taught by itself: the class that most of its states of one, two and three epochs ago
# choose for a pixel.
_base_ = ['./unet-w8_isbi.py', '../_base_/distill/snapshots.py']
majority = dict(vote='majority', target='hard', weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=50))
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teachers=_base_.teachers,
        distillers=dict(votes=dict(**majority, **_base_.votes)),
    )
)
