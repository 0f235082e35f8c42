# DWPose's second stage on LSPE, in a fifth of the epochs: the result of the first one teaches a new head of its own.
# Train dwpose_s-t_lspet_stage1.py first, in the same working folder, or let LSPET_STAGE1 name a checkpoint.
_base_ = ['./rtmpose-t_lspet.py', '../_base_/distill/dwpose_lspet.py']
load_from = '{{$LSPET_STAGE1:work_dirs/dwpose_s-t_lspet_stage1/epoch_15.pth}}'
train_cfg = dict(max_epochs=3)
# As in the release, the rate stays constant after the warm-up, and the averaged weights are the result. The average
# spans a tenth of three epochs of 32 iterations.
param_scheduler = _base_.param_scheduler[:1]
custom_hooks = [*_base_.custom_hooks, dict(momentum=10 / (3 * 32), **_base_.average)]
default_hooks = dict(
    distill=dict(
        distillers=dict(simcc=dict(type='kd_plugins.SimCCDistiller', x='head.cls_x', y='head.cls_y', weight=1.0)),
        **_base_.dwpose_stage2,
    )
)
