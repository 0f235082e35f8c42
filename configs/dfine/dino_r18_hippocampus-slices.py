# DINO with six decoder layers from scratch on slices of hippocampus volumes, whose boxes are exact. The objects are
# small, so the first three stages of ResNet-18 and levels from stride 8 on. At most two objects a slice: 20 queries.
# The average of the weights is evaluated, here and in every child.
_base_ = [
    '../_base_/models/dino_r18.py',
    '../_base_/datasets/hippocampus_slices.py',
    '../_base_/schedules/adamw.py',
    '../_base_/runtime_det.py',
]
model = dict(
    num_queries=20,
    backbone=dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(1, 2)),
    neck=dict(in_channels=[128, 256]),
    decoder=dict(num_layers=6),
    bbox_head=dict(num_classes=2),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
    test_cfg=dict(max_per_img=20),
)
max_epochs = 3  # of 899 steps
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4), clip_grad=dict(max_norm=0.1))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=False, begin=0, milestones=[2150], gamma=0.1),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best=None))
custom_hooks = [dict(type='EMAHook', momentum=0.005, update_buffers=True, priority=49)]
