# Both stages of DWPose on LSPE, for `kd_plugins train-stages`: RTMPose-s teaches RTMPose-t, which teaches a new head.
stages = dict(
    teacher=dict(config='kd_plugins::dwpose/rtmpose-s_lspet.py', pick='last'),
    first=dict(
        config='kd_plugins::dwpose/dwpose_s-t_lspet_stage1.py',
        takes={'default_hooks.distill.teacher.checkpoint': 'teacher'},
        pick='last',
    ),
    second=dict(config='kd_plugins::dwpose/dwpose_t-t_lspet_stage2.py', takes=dict(load_from='first'), pick='last'),
)
