# The small baseline where labels are few: a quarter of the training images (the first 73 of `trainval`).
_base_ = './gfl_r18_bccd.py'
train_dataloader = dict(dataset=dict(indices=73))

max_epochs = 24
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[16, 21], gamma=0.1),
]
