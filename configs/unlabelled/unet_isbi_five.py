# The half-width UNet where labels are few: five of the 24 training slices, one in each run of neighbours, 600 steps.
# The average of the weights is evaluated, here and in every child.
_base_ = '../logit/unet-w8_isbi.py'
labelled = [2, 7, 12, 17, 22]
train_dataloader = dict(dataset=dict(times=12, dataset=dict(indices=labelled)))  # 30 steps in an epoch

train_cfg = dict(val_interval=_base_.max_epochs)
val_evaluator = [_base_.val_evaluator, dict(type='kd_plugins.ClassIoUMetric')]
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=1, save_best=None))
custom_hooks = [dict(type='EMAHook', momentum=0.01, update_buffers=True, priority=49)]
