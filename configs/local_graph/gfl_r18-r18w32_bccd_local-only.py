# Ablation: local graphs whose points all weigh the same.
_base_ = './gfl_r18-r18w32_bccd_local.py'
default_hooks = dict(distill=dict(distillers=dict(graph=dict(temperature=None))))
