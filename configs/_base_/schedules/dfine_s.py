# D-FINE-S: batches of 32 images, 640 pixels high in 20 of 30 iterations.
_base_ = './dfine.py'
multi_scale = [
    dict(
        type='kd_plugins.BatchListResize',
        sizes=[480, 512, 544, 576, 608, *[640] * 20, 672, 704, 736, 768, 800],
    )
]
