# The whole of DWPose on LSPE, for tools/train_stages.py: RTMPose-s teaches RTMPose-t, which then teaches a new head.
stages = dict(
    teacher=dict(config='{{fileDirname}}/rtmpose-s_lspet.py', pick='last'),
    first=dict(
        config='{{fileDirname}}/dwpose_s-t_lspet_stage1.py',
        takes={'default_hooks.distill.teacher.checkpoint': 'teacher'},
        pick='last',
    ),
    second=dict(config='{{fileDirname}}/dwpose_t-t_lspet_stage2.py', takes=dict(load_from='first'), pick='last'),
)
