# The whole of DWPose with heatmaps on LSPE, for tools/train_stages.py: a teacher, both stages, and what they are
# compared with: the plain student, and the second stage on it alone.
stages = dict(
    teacher=dict(config='{{fileDirname}}/simplebaseline-r18_lspet.py', pick='last'),
    plain=dict(config='{{fileDirname}}/simplebaseline-r18w32_lspet.py', pick='last'),
    first=dict(
        config='{{fileDirname}}/dwpose_r18-r18w32_lspet_stage1.py',
        takes={'default_hooks.distill.teacher.checkpoint': 'teacher'},
        pick='last',
    ),
    second=dict(
        config='{{fileDirname}}/dwpose_r18w32-r18w32_lspet_stage2.py', takes=dict(load_from='first'), pick='last'
    ),
    second_alone=dict(
        config='{{fileDirname}}/dwpose_r18w32-r18w32_lspet_stage2-plain.py', takes=dict(load_from='plain'), pick='last'
    ),
)
