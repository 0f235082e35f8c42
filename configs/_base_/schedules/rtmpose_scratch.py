# RTMPose's optimizer for a small model from scratch: half an epoch of warm-up, then half a cosine to the end of
# training. Without `end` the cosine follows `train_cfg.max_epochs`, so a child config changes that alone.
base_lr = 4e-3
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=0.5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=base_lr * 0.05, by_epoch=True, begin=0.5, convert_to_iter_based=True),
]
