# The small UNet as in "Be your own teacher" (arXiv 1905.08094): the network's own output teaches its encoder stages.
_base_ = ['./unet_isbi.py', '../_base_/distill/byot.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            byot=dict(encoder='backbone.encoder.*', logits='decode_head.conv_seg', **_base_.byot),
        ),
    )
)
