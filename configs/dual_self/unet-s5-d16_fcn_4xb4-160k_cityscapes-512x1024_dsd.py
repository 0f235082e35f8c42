# MMSegmentation's UNet on Cityscapes with dual self-distillation, divergences at a quarter of the labels' size.
_base_ = 'mmseg::unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(
                type='kd_plugins.DualSelfDistiller',
                weight=0.4,
                resolution=4,
                encoder=['backbone.encoder.0', 'backbone.encoder.1', 'backbone.encoder.2', 'backbone.encoder.3'],
                decoder=['backbone.encoder.4', 'backbone.decoder.3', 'backbone.decoder.2', 'backbone.decoder.1'],
            )
        ),
    )
)
