# The half-width UNet, taught the class scores of the small one by KL divergence.
_base_ = ['./unet-w8_isbi.py', '../_base_/distill/isbi_unet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            logits=dict(
                type='kd_plugins.LogitDistiller',
                logits='decode_head.conv_seg',
                activation='softmax',
                temperature=2.0,
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=50),
            )
        ),
    )
)
