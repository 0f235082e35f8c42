# The small baseline: GFL-R18 from scratch on BCCD at 320x240.
_base_ = [
    '../_base_/models/gfl_r18.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/adamw.py',
    '../_base_/runtime_det.py',
]
model = dict(bbox_head=dict(num_classes=3))

max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=35))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[11, 14], gamma=0.1),
]
