# The same with the correlations of DIST over the positions of each class. With two classes, a correlation over classes
# has no gradient.
_base_ = './kd_unet_unet-w8_isbi.py'
default_hooks = dict(
    distill=dict(distillers=dict(logits=dict(divergence='dist', factors=dict(inter=0.0), temperature=1.0)))
)
