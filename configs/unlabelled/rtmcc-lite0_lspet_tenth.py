# The plain student where labels are few: the keypoints of the first 200 of the 2000 training photographs, 1000 steps of
# eight. The average of the weights is evaluated, here and in every child.
_base_ = '../dwpose/rtmcc-lite0_lspet.py'
train_dataloader = dict(batch_size=8, dataset=dict(indices=200))

max_epochs = 40  # of 25 steps
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [dict(_base_.warmup, end=2), dict(begin=max_epochs // 2, **_base_.cosine)]
default_hooks = dict(checkpoint=dict(interval=8, max_keep_ckpts=1, save_best=None))
custom_hooks = [dict(momentum=0.01, **_base_.average)]
