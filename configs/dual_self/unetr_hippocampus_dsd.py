# The small UNETR with dual self-distillation. The decoder's levels end before the last, which feeds the network's own
# head. The release also takes the tokens, reshaped, as the decoder's first level; here every level is a module's map.
_base_ = './unetr_hippocampus.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(
                type='kd_plugins.DualSelfDistiller',
                encoder=['network.encoder1', 'network.encoder2', 'network.encoder3', 'network.encoder4'],
                decoder=['network.decoder5', 'network.decoder4', 'network.decoder3'],
                num_classes=3,
                # With the release's 1 for all three, both small networks lost 1.4 points of Dice.
                kl_weight=0.3,
                level_decay=0.5,
                weight=0.5,
            )
        ),
    )
)
