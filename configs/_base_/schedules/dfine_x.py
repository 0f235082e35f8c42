# D-FINE-X: as D-FINE-L, 640 pixels high in 3 of 13 iterations; a hundredth of the rate for the backbone.
_base_ = './dfine_l.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.01))))
multi_scale = [
    dict(
        type='kd_plugins.BatchListResize',
        sizes=[480, 512, 544, 576, 608, *[640] * 3, 672, 704, 736, 768, 800],
    )
]
