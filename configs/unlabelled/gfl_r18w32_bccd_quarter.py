# The half-width baseline where labels are few, trained to its end: a quarter of the training images (the first 73 of
# `trainval`), 900 steps. The average of the weights is evaluated, here and in every child.
_base_ = '../gfl/gfl_r18w32_bccd.py'
train_dataloader = dict(dataset=dict(indices=73))

max_epochs = 90  # of 10 steps
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[63, 81], gamma=0.1),
]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1, save_best=None))
custom_hooks = [dict(type='EMAHook', momentum=0.01, update_buffers=True, priority=49)]
