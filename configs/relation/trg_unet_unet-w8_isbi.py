# The half-width UNet on ISBI, taught the relations inside each image that the small one sees: the contextual term of
# TRG.
_base_ = ['../logit/unet-w8_isbi.py', '../_base_/distill/isbi_unet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            context=dict(
                type='kd_plugins.RelationDistiller',
                student_tap='decode_head.convs.0',
                kind='context',
                size=16,
                weight=dict(type='kd_plugins.LinearWarmup', value=100.0, end=50),
            )
        ),
    )
)
