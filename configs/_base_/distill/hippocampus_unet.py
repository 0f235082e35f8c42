# The UNet of 16 to 256 channels on slices of hippocampi as the teacher: train logit/unet-w16_hippocampus-slices.py
# first, in the same working folder, or let the environment variable HIPPOCAMPUS_TEACHER name a checkpoint.
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='kd_plugins::logit/unet-w16_hippocampus-slices.py',
    checkpoint='{{$HIPPOCAMPUS_TEACHER:work_dirs/unet-w16_hippocampus-slices/epoch_8.pth}}',
)
