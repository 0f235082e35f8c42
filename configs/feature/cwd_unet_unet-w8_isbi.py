# CWD on ISBI: the half-width UNet learns where each class score of the small one is high. Weight and temperature are
# those of the paper for class scores, 3 and 4 (the loss holds the square of the temperature), and were not tuned.
_base_ = ['../logit/unet-w8_isbi.py', '../_base_/distill/isbi_unet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            scores=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='decode_head.conv_seg',
                kind='channel_wise',
                temperature=4.0,
                weight=dict(type='kd_plugins.LinearWarmup', value=3.0, end=50),
            )
        ),
    )
)
