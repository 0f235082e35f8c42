# Ablation: weighted points without their neighbours.
_base_ = './gfl_r18-r18w32_bccd_local.py'
default_hooks = dict(distill=dict(distillers=dict(graph=dict(num_neighbours=1))))
