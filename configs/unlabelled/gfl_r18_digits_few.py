# The demo's baseline: a slim GFL-R18 from scratch learns from 24 labelled images where digits are, without telling them
# apart. Half of the images are in a strong photometric view. The average of the weights is evaluated, here and in the
# child.
_base_ = '../gfl/gfl_r18_digits.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
metainfo = dict(_delete_=True, classes=('digit',), palette=[(214, 39, 40)])
model = dict(bbox_head=dict(num_classes=1))
train_dataloader = dict(dataset=dict(metainfo=metainfo, ann_file='annotations/train_one-class.json', indices=24))
val_dataloader = dict(dataset=dict(metainfo=metainfo, ann_file='annotations/val_one-class.json'))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_base_.data_root + 'annotations/val_one-class.json')
test_evaluator = val_evaluator

max_epochs = 120  # of 3 steps
train_cfg = dict(max_epochs=max_epochs, val_interval=40)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[95], gamma=0.1),
]
default_hooks = dict(
    checkpoint=dict(interval=40, max_keep_ckpts=1, save_best=None),
    distill=dict(
        type='kd_plugins.DistillHook',
        student_view=dict(labelled=dict(type='kd_plugins.PhotometricView', min_easy=0.5)),
        distillers=dict(),
    ),
)
custom_hooks = [dict(type='EMAHook', momentum=0.02, update_buffers=True, priority=49)]
