# PKD with a wider and deeper teacher, whose pyramid has twice the channels: a 1x1 convolution maps those of the
# student. Train gfl_r34_bccd.py first, in the same working folder, or let the environment variable BCCD_R34 name a
# checkpoint.
_base_ = './pkd_gfl-r18_gfl-r18w32_bccd.py'
default_hooks = dict(
    distill=dict(
        teacher=dict(
            config='kd_plugins::gfl/gfl_r34_bccd.py',
            checkpoint='{{$BCCD_R34:work_dirs/gfl_r34_bccd/epoch_16.pth}}',
        )
    )
)
