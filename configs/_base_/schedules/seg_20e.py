# Twenty epochs for the small segmentation networks from scratch, on images and on volumes.
_base_ = './adamw.py'
max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-5), clip_grad=dict(max_norm=12))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, T_max=max_epochs, eta_min=1e-5),
]
