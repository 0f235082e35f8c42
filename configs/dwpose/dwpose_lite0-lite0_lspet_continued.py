# Control of the second stage: the result of the first one is trained for as many more epochs, whole and on the labels,
# with an average of its own. Both terms of the first stage have decayed to 0 at its end, so it continues without a
# teacher, and at the rate with which its cosine ended: the constant rate of the second stage, twenty times as high,
# would undo the first stage's cosine.
_base_ = './rtmcc-lite0_lspet.py'
load_from = '{{$LSPET_STAGE1:work_dirs/dwpose_lite0w-lite0_lspet_stage1/epoch_20.pth}}'
max_epochs = max(_base_.max_epochs // 5, 1)
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=_base_.cosine.eta_min))
param_scheduler = []
custom_hooks = [dict(momentum=10 / (max_epochs * _base_.epoch_length), **_base_.average)]
