# The half-width GFL on BCCD, whose backbone also learns which classes an image has: a head on each stage, of which the
# deepest teaches the others.
_base_ = '../gfl/gfl_r18w32_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(stages=dict(type='kd_plugins.StageClassDistiller', stages='backbone.layer*', width=64)),
    )
)
