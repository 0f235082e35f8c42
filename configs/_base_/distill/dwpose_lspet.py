# Parts of DWPose on LSPE that SimCC and heatmaps share: the distance of features in stage 1, and in stage 2 a head that
# starts from new weights and learns from the finished one alone.
dwpose_feature = dict(type='kd_plugins.FeatureDistiller', student_tap='backbone', kind='mse', reduction='sum')
dwpose_stage2 = dict(
    type='kd_plugins.DistillHook',
    restart=dict(parts=['head']),
    task_weight=0.0,
    teacher=dict(type='kd_plugins.FinishedTeacher'),
)
