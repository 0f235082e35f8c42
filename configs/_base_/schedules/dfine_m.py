# D-FINE-M: batches of 32 images, 640 pixels high in 6 of 16 iterations; a tenth of the rate for the backbone.
_base_ = './dfine.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
multi_scale = [
    dict(
        type='kd_plugins.BatchListResize',
        sizes=[480, 512, 544, 576, 608, *[640] * 6, 672, 704, 736, 768, 800],
    )
]
