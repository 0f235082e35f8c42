# PSPNet-R18 on Cityscapes without a teacher: its auxiliary head is the weak head of USKD. Factors are those of the
# release for ImageNet.
_base_ = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            uskd=dict(
                type='kd_plugins.USKDDistiller',
                logits='decode_head.conv_seg',
                weak='auxiliary_head.conv_seg',
                factors=dict(target=1.0, others=0.1, weak=0.005),
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=1000),
            )
        ),
    )
)
