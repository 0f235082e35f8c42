# The first task of class-incremental BCCD: the half-width GFL learns red and white blood cells, as if nobody had
# labelled a platelet. Its last checkpoint also holds the Fisher information of all weights, from
# half of the images.
_base_ = '../gfl/gfl_r18w32_bccd.py'
metainfo = dict(classes=('RBC', 'WBC'), palette=[(220, 20, 60), (65, 105, 225)])
model = dict(bbox_head=dict(num_classes=2))
train_dataloader = dict(dataset=dict(metainfo=metainfo))
val_dataloader = dict(dataset=dict(metainfo=metainfo))
test_dataloader = val_dataloader
custom_hooks = [dict(type='kd_plugins.FisherHook', parameters='param:**', images=146)]

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[8, 11], gamma=0.1),
]
