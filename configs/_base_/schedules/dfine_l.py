# D-FINE-L: batches of 32 images, 640 pixels high in 4 of 14 iterations; a twentieth of the rate for the backbone.
# Biases decay, norms of neck, encoder, decoder and head do not.
_base_ = './dfine.py'
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-4, weight_decay=1.25e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=dict(backbone=dict(lr_mult=0.05)), norm_decay_mult=0),
)
multi_scale = [
    dict(
        type='kd_plugins.BatchListResize',
        sizes=[480, 512, 544, 576, 608, *[640] * 4, 672, 704, 736, 768, 800],
    )
]
