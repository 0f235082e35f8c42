# The small UNet on ISBI without a teacher: its auxiliary head is the weak head of USKD. With two classes there are no
# other classes to rank.
_base_ = './unet-w8_isbi_auxiliary.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            uskd=dict(
                type='kd_plugins.USKDDistiller',
                logits='decode_head.conv_seg',
                weak='auxiliary_head.conv_seg',
                factors=dict(target=1.0, others=0.0, weak=0.005),
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=100),
            )
        ),
    )
)
