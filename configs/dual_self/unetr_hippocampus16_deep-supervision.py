# The wide UNETR with deep supervision alone: the decoder's heads learn from the labels, and none from another.
_base_ = './unetr_hippocampus16_dsd-released.py'
default_hooks = dict(distill=dict(distillers=dict(dsd=dict(encoder=None, kl_weight=0.0))))
