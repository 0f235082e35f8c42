# The first task of class-incremental BCCD: the half-width GFL learns red and white blood cells, as if nobody had
# labelled a platelet. Its last checkpoint also holds the Fisher information of the backbone.
_base_ = '../gfl/gfl_r18w32_bccd.py'
metainfo = dict(classes=('RBC', 'WBC'), palette=[(220, 20, 60), (65, 105, 225)])
model = dict(bbox_head=dict(num_classes=2))
train_dataloader = dict(dataset=dict(metainfo=metainfo))
val_dataloader = dict(dataset=dict(metainfo=metainfo))
test_dataloader = val_dataloader
train_cfg = dict(val_interval=16)
custom_hooks = [dict(type='kd_plugins.FisherHook', parameters='param:backbone.**')]
