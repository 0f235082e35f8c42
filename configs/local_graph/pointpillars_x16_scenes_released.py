# The factors of PointDistiller's release for SECOND: the loss is a sum over levels, times the scenes of a batch. That
# is 3 x 4 times the mean of pointpillars_x16_scenes_local.py.
_base_ = './pointpillars_x16_scenes_local.py'
default_hooks = dict(distill=dict(distillers=dict(graph=dict(reference='second', temperature=1.0))))
