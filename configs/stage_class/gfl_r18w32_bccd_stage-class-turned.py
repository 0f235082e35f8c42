# The half-width GFL on BCCD with class heads on the stages of its backbone, which also learn the three quarter turns of
# each image.
_base_ = './gfl_r18w32_bccd_stage-class.py'
default_hooks = dict(distill=dict(distillers=dict(stages=dict(rotations=True))))
