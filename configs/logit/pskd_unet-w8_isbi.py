# The small UNet on ISBI with softened targets: labels, and more and more what the network of the last epoch predicts.
_base_ = ['./unet-w8_isbi.py', '../_base_/distill/softened_pixels.py']
default_hooks = dict(distill=_base_.softened)
