# The half-width GFL on BCCD, taught the pyramid of the small one, in and outside of blood cells: train gfl_r18_bccd.py
# first, in the same working folder, or let the environment variable BCCD_TEACHER name a checkpoint.
_base_ = [
    '../gfl/gfl_r18w32_bccd.py',
    '../_base_/distill/focal_global.py',
    '../_base_/distill/frozen_gfl-r18_bccd.py',
]
default_hooks = dict(distill=dict(_base_.distill, distillers=dict(fgd=_base_.small)))
