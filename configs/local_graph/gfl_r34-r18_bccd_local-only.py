# Ablation: local graphs whose points all weigh the same.
_base_ = './gfl_r34-r18_bccd_local.py'
default_hooks = dict(distill=dict(distillers=dict(graph=dict(temperature=None))))
