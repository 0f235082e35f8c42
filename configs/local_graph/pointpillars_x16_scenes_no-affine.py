# Edge functions whose outputs keep their spread: the loss cannot become small by a small scale of both.
_base_ = './pointpillars_x16_scenes_local.py'
default_hooks = dict(distill=dict(distillers=dict(graph=dict(affine=False))))
