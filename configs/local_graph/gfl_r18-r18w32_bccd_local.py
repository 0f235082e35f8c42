# The half-width GFL, taught the local graphs of the small one: train gfl_r18_bccd.py first, in the same working folder,
# or let the environment variable BCCD_TEACHER name a checkpoint.
_base_ = './gfl_r34-r18_bccd_local.py'
model = dict(backbone=dict(base_channels=32), neck=dict(in_channels=[32, 64, 128, 256]))
train_cfg = dict(val_interval=4)
default_hooks = dict(
    distill=dict(
        teacher=dict(
            config='kd_plugins::gfl/gfl_r18_bccd.py',
            checkpoint='{{$BCCD_TEACHER:work_dirs/gfl_r18_bccd/epoch_16.pth}}',
        )
    )
)
