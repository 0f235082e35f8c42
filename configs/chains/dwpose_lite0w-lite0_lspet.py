# DWPose with a pretrained backbone on LSPE, for `kd_plugins train-stages`: the teacher, both stages, and what they are
# compared with. The second stage's controls take the same model of the first stage and as many epochs.
stages = dict(
    teacher=dict(config='kd_plugins::dwpose/rtmcc-lite0w_lspet.py', pick='last'),
    plain=dict(config='kd_plugins::dwpose/rtmcc-lite0_lspet.py', pick='last'),
    first=dict(
        config='kd_plugins::dwpose/dwpose_lite0w-lite0_lspet_stage1.py',
        takes={'default_hooks.distill.teacher.checkpoint': 'teacher'},
        pick='last',
    ),
    second=dict(
        config='kd_plugins::dwpose/dwpose_lite0-lite0_lspet_stage2.py', takes=dict(load_from='first'), pick='last'
    ),
    restart=dict(
        config='kd_plugins::dwpose/dwpose_lite0-lite0_lspet_restart.py', takes=dict(load_from='first'), pick='last'
    ),
    continued=dict(
        config='kd_plugins::dwpose/dwpose_lite0-lite0_lspet_continued.py', takes=dict(load_from='first'), pick='last'
    ),
)
