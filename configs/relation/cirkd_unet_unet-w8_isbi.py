# The half-width UNet on ISBI, taught the affinities between the positions of each image by the small one.
_base_ = ['../logit/unet-w8_isbi.py', '../_base_/distill/isbi_unet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            affinity=dict(
                type='kd_plugins.RelationDistiller',
                student_tap='decode_head.convs.0',
                kind='affinity',
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=50),
            )
        ),
    )
)
