# PSPNet-R18 on Cityscapes, taught by itself: the mean of the class scores that it had one, two and three epochs ago.
_base_ = [
    'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill/snapshots.py',
]
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teachers=_base_.teachers,
        distillers=dict(
            votes=dict(vote='mean', weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=40000), **_base_.votes)
        ),
    )
)
