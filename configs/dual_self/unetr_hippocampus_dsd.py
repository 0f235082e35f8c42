# The small UNETR with dual self-distillation. The decoder's levels end before the last, which feeds the network's own
# head. The release also takes the tokens, reshaped, as the decoder's first level; here every level is a module's map.
_base_ = ['./unetr_hippocampus.py', '../_base_/distill/dsd_small.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(
                encoder=['network.encoder1', 'network.encoder2', 'network.encoder3', 'network.encoder4'],
                decoder=['network.decoder5', 'network.decoder4', 'network.decoder3'],
                **_base_.dsd,
            )
        ),
    )
)
