# A small detector from scratch: 16 epochs of AdamW, the rate divided by ten at 70 % and 90 %.
_base_ = './adamw.py'
max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=35))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[11, 14], gamma=0.1),
]
