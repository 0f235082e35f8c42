# MGD on ISBI: from its last map, three quarters of which are masked as in the paper's segmentors, the half-width UNet
# generates that of the small one. The difference is a mean and not a sum: the weight does not depend on the map's size.
_base_ = ['../logit/unet-w8_isbi.py', '../_base_/distill/isbi_unet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            generated=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='decode_head.convs.0',
                adapter=dict(type='kd_plugins.MaskedGenerator', mask_ratio=0.75),
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=50),
            )
        ),
    )
)
