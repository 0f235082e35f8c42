# The small DynUNet as in "Be your own teacher" (arXiv 1905.08094): every encoder level has a head that learns from the
# labels and from the network's own output, and a hint from the deepest features. Weights as in MMRazor's config.
_base_ = './dynunet_hippocampus.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            byot=dict(
                type='kd_plugins.DualSelfDistiller',
                encoder=[
                    'network.input_block',
                    'network.downsamples.0',
                    'network.downsamples.1',
                    'network.downsamples.2',
                    'network.bottleneck',
                ],
                encoder_supervision='all',
                num_classes=3,
                logits='network.output_block',
                seg_weight=0.7,
                dice_weight=0.0,
                kl_weight=0.3,
                feature_weight=0.03,
                feature_size=None,
                upsample='interpolate',
            )
        ),
    )
)
