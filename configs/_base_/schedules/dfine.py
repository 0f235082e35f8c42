# D-FINE's recipe as far as its sizes share it: AdamW, gradients clipped at 0.1, a constant rate after 500 iterations,
# and an average of weights and buffers, which is evaluated. Norms and biases of neck, encoder, decoder and head do not
# decay. Every parameter of the backbone does: in the release, a regular expression for its norms matches nothing.
_base_ = ['./adamw.py', '../runtime_det.py']
train_cfg = dict(val_interval=1)
optim_wrapper = dict(
    optimizer=dict(lr=2e-4, betas=(0.9, 0.999), weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(backbone=dict(lr_mult=0.5), in_proj_bias=dict(decay_mult=0)),
        norm_decay_mult=0,
        bias_decay_mult=0,
    ),
    clip_grad=dict(max_norm=0.1),
)
param_scheduler = [dict(type='LinearLR', start_factor=1 / 500, by_epoch=False, begin=0, end=500)]
default_hooks = dict(logger=dict(interval=50), ema=dict(type='kd_plugins.FittedEMAHook', priority=49))
sync_bn = 'torch'  # on several GPUs; one process has ordinary norms
auto_scale_lr = dict(enable=False, base_batch_size=32)
