# The moving average of the student teaches local graphs on KITTI. A config adds which points are compared.
_base_ = './ema_features.py'
local_graph = dict(
    type='kd_plugins.LocalGraphDistiller',
    num_neighbours=128,
    channels=32,
    weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=1000),
)
