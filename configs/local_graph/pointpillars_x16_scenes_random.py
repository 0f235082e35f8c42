# Control: local graphs of a teacher that was never trained.
_base_ = './pointpillars_x16_scenes_local.py'
default_hooks = dict(distill=dict(teacher=dict(checkpoint=None)))
