# The same with the correlations of DIST, over the classes of each pixel and over the pixels of each class.
_base_ = './kd_unet-w16_unet-w4_hippocampus-slices.py'
default_hooks = dict(distill=dict(distillers=dict(logits=dict(divergence='dist', temperature=1.0))))
