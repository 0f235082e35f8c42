# Class-incremental BCCD, for `kd_plugins train-stages`: a detector of red and white blood cells, then platelets as a
# third class, by fine-tuning and with each way against forgetting.
stages = dict(
    cells=dict(config='kd_plugins::incremental/gfl_r18w32_bccd_cells.py', pick='last'),
    fine_tune=dict(
        config='kd_plugins::incremental/gfl_r18w32_bccd_platelets.py', takes=dict(load_from='cells'), pick='last'
    ),
    l2=dict(
        config='kd_plugins::incremental/gfl_r18w32_bccd_platelets_l2.py',
        takes={'load_from': 'cells', 'default_hooks.distill.distillers.anchor.checkpoint': 'cells'},
        pick='last',
    ),
    ewc=dict(
        config='kd_plugins::incremental/gfl_r18w32_bccd_platelets_ewc.py',
        takes={'load_from': 'cells', 'default_hooks.distill.distillers.anchor.checkpoint': 'cells'},
        pick='last',
    ),
    predkd=dict(
        config='kd_plugins::incremental/gfl_r18w32_bccd_platelets_predkd.py',
        takes={'load_from': 'cells', 'default_hooks.distill.teacher.checkpoint': 'cells'},
        pick='last',
    ),
    featkd=dict(
        config='kd_plugins::incremental/gfl_r18w32_bccd_platelets_featkd.py',
        takes={'load_from': 'cells', 'default_hooks.distill.teacher.checkpoint': 'cells'},
        pick='last',
    ),
)
