# The small UNet on ISBI as the teacher: train dual_self/unet_isbi.py first, with the same fold and in the same working
# folder, or let the environment variable ISBI_TEACHER name a checkpoint.
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='kd_plugins::dual_self/unet_isbi.py',
    checkpoint='{{$ISBI_TEACHER:work_dirs/unet_isbi/epoch_20.pth}}',
)
