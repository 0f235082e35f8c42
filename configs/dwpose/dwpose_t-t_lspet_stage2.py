# DWPose's second stage on LSPE, in a fifth of the epochs: the result of the first one teaches a new head of its own.
# Train dwpose_s-t_lspet_stage1.py first, in the same working folder, or let LSPET_STAGE1 name a checkpoint.
_base_ = ['./rtmpose-t_lspet.py', '../_base_/distill/dwpose_lspet.py']
load_from = '{{$LSPET_STAGE1:work_dirs/dwpose_s-t_lspet_stage1/epoch_15.pth}}'
train_cfg = dict(max_epochs=3)
default_hooks = dict(
    distill=dict(
        distillers=dict(simcc=dict(type='kd_plugins.SimCCDistiller', x='head.cls_x', y='head.cls_y', weight=1.0)),
        **_base_.dwpose_stage2,
    )
)
