# For comparison: the half-width GFL on BCCD, whose head also learns on the maps made of the labels, but whose own maps
# are not compared with them.
_base_ = '../gfl/gfl_r18w32_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(guide=dict(type='kd_plugins.LabelGuidedDistiller', encoder_width=0.25, feat_weight=0.0)),
    )
)
