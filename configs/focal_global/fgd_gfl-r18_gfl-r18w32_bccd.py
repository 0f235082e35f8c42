# The half-width GFL on BCCD, taught the pyramid of the small one, in and outside of blood cells: train gfl_r18_bccd.py
# first, in the same working folder, or let the environment variable BCCD_TEACHER name a checkpoint.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/focal_global.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::gfl/gfl_r18_bccd.py',
            checkpoint='{{$BCCD_TEACHER:work_dirs/gfl_r18_bccd/epoch_16.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(fgd=_base_.small),
    )
)
