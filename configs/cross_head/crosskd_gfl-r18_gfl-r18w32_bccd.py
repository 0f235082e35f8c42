# The half-width GFL on BCCD, whose features go through the last convolution of the small one's head (CrossKD): train
# gfl_r18_bccd.py first, in the same working folder, or let the environment variable BCCD_TEACHER name a checkpoint.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r18_bccd.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        # These heads have two convolutions in each branch.
        distillers=dict(cross=dict(type='kd_plugins.CrossHeadDistiller', index=1, weight=1.0)),
    )
)
