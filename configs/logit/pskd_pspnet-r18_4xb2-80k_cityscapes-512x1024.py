# PSPNet-R18 on Cityscapes with softened targets, without another network.
_base_ = [
    'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill/softened_pixels.py',
]
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(distill=_base_.softened)
