# The small UNet on slices of hippocampi, taught the class scores of one with four times its channels by KL divergence.
_base_ = ['./unet-w4_hippocampus-slices.py', '../_base_/distill/hippocampus_unet.py']
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
