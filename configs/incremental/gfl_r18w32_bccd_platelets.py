# The second task of class-incremental BCCD, fine-tuning: the detector of gfl_r18w32_bccd_cells.py gets platelets as a
# third class and is trained on the images with platelets, where nothing else is labelled. It is tested on all classes,
# the old and the new ones apart. Train gfl_r18w32_bccd_cells.py first, in the same working folder, or let the
# environment variable BCCD_CELLS name a checkpoint.
_base_ = '../gfl/gfl_r18w32_bccd.py'
load_from = '{{$BCCD_CELLS:work_dirs/gfl_r18w32_bccd_cells/epoch_12.pth}}'
custom_hooks = [dict(type='kd_plugins.ClassRowsHook')]
train_dataloader = dict(
    dataset=dict(type='kd_plugins.LabelledClassesCoco', labelled=['Platelets'], filter_cfg=dict(filter_empty_gt=True))
)
val_evaluator = dict(type='kd_plugins.ClassGroupCocoMetric', groups=dict(old=['RBC', 'WBC'], new=['Platelets']))
test_evaluator = val_evaluator

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[6], gamma=0.1),
]
