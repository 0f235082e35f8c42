# The small GFL on BCCD as `teacher`, and in `distill` as the teacher of features: train gfl_r18_bccd.py first, in the
# same working folder, or let the environment variable BCCD_TEACHER name a checkpoint. A config adds the distillers.
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='kd_plugins::gfl/gfl_r18_bccd.py',
    checkpoint='{{$BCCD_TEACHER:work_dirs/gfl_r18_bccd/epoch_16.pth}}',
)
distill = dict(type='kd_plugins.DistillHook', teacher=dict(teacher, mode='extract_feat'))
