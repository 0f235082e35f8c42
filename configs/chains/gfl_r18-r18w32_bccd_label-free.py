# A label-free stage before a supervised one, for `kd_plugins train-stages`: a teacher from a quarter of the labels, a
# smaller student that learns from it on all images without labels, then on the same quarter of the labels; and for
# comparison the student on these labels alone.
stages = dict(
    teacher=dict(config='kd_plugins::gfl/gfl_r18_bccd_quarter.py', pick='last'),
    label_free=dict(
        config='kd_plugins::unlabelled/gfl_r18w32_bccd_label-free.py',
        takes={'default_hooks.distill.teacher.checkpoint': 'teacher'},
        pick='last',
    ),
    supervised=dict(
        config='kd_plugins::unlabelled/gfl_r18w32_bccd_quarter.py', takes=dict(load_from='label_free'), pick='last'
    ),
    plain=dict(config='kd_plugins::unlabelled/gfl_r18w32_bccd_quarter.py', pick='last'),
)
