# The other 219 training images without their labels, in a run of 2300 steps of a smaller network: they join after 900,
# when the average of the weights has found every class. It teaches nothing about a class that it has not found.
_base_ = './gfl_r18w32_bccd_quarter_unlabelled.py'
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]),
)
max_epochs = 230  # of 10 steps
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[161, 207], gamma=0.1),
]
default_hooks = dict(distill=dict(unlabelled=dict(weight=dict(begin=900, end=1000))))
