# Both stages of DWPose with heatmaps on LSPE, for `kd_plugins train-stages`: a teacher, the two stages, and for
# comparison the plain student and the second stage on it alone.
stages = dict(
    teacher=dict(config='kd_plugins::dwpose/simplebaseline-r18_lspet.py', pick='last'),
    plain=dict(config='kd_plugins::dwpose/simplebaseline-r18w32_lspet.py', pick='last'),
    first=dict(
        config='kd_plugins::dwpose/dwpose_r18-r18w32_lspet_stage1.py',
        takes={'default_hooks.distill.teacher.checkpoint': 'teacher'},
        pick='last',
    ),
    second=dict(
        config='kd_plugins::dwpose/dwpose_r18w32-r18w32_lspet_stage2.py', takes=dict(load_from='first'), pick='last'
    ),
    second_alone=dict(
        config='kd_plugins::dwpose/dwpose_r18w32-r18w32_lspet_stage2-plain.py',
        takes=dict(load_from='plain'),
        pick='last',
    ),
)
