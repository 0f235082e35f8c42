# The same with the KL divergences of both directions, as in SSLD.
_base_ = './kd_unet_unet-w8_isbi.py'
default_hooks = dict(distill=dict(distillers=dict(logits=dict(symmetric=True, temperature=1.0))))
