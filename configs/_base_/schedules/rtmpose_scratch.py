# RTMPose's optimizer at a quarter of its rate (4e-3 diverges in batches of 64 without pretrained weights): half an
# epoch of warm-up, then half a cosine to the end of training. Without `end` it follows `train_cfg.max_epochs`.
base_lr = 1e-3
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
