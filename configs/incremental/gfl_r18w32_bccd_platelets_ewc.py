# The second task, with all weights held near the end of the first one, each by its Fisher information there (EWC). The
# mean of the information is 1, so that the factor means the same as with squares.
_base_ = './gfl_r18w32_bccd_platelets_l2.py'
default_hooks = dict(distill=dict(distillers=dict(anchor=dict(method='ewc', normalize=True))))
