# A slim GFL-R18 (half of ResNet-18's channels, strides 8 to 64) from scratch at 160x160.
_base_ = [
    '../_base_/models/gfl_r18.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/adamw.py',
    '../_base_/runtime_det.py',
]
model = dict(
    backbone=dict(base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256], num_outs=4),
    bbox_head=dict(num_classes=10, anchor_generator=dict(octave_base_scale=4, strides=[8, 16, 32, 64])),
)

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=35))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, eta_min=2e-5, convert_to_iter_based=True),
]
