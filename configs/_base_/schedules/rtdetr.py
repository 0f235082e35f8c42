# RT-DETR's recipe as far as its sizes share it: that of D-FINE with batches of 16 images, a constant rate from the
# first step on, and a tenth of it for the backbone. Norms and biases outside the backbone do not decay.
_base_ = './dfine.py'
train_cfg = dict(max_epochs=72)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=1e-4), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
)
param_scheduler = []
default_hooks = dict(ema=dict(gamma=2000))
auto_scale_lr = dict(base_batch_size=16)
multi_scale = [
    dict(
        type='kd_plugins.BatchListResize',
        sizes=[480, 512, 544, 576, 608, *[640] * 3, 672, 704, 736, 768, 800],
    )
]
