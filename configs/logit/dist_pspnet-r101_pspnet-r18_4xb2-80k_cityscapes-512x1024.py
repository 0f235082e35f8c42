# PSPNet-R18 on Cityscapes, taught by PSPNet-R101 with the correlations of DIST.
_base_ = [
    'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill/cityscapes_pspnet_r101.py',
]
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            logits=dict(
                type='kd_plugins.LogitDistiller',
                logits='decode_head.conv_seg',
                activation='softmax',
                divergence='dist',
                weight=1.0,
            )
        ),
    )
)
