# The small UNet with dual self-distillation. As in the release, the encoder's levels are those before the bottleneck,
# and the decoder's begin with it and end before the last, which feeds the network's own head.
_base_ = ['./unet_isbi.py', '../_base_/distill/dsd_small.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(
                encoder=['backbone.encoder.0', 'backbone.encoder.1', 'backbone.encoder.2', 'backbone.encoder.3'],
                decoder=['backbone.encoder.4', 'backbone.decoder.3', 'backbone.decoder.2', 'backbone.decoder.1'],
                **_base_.dsd,
            )
        ),
    )
)
