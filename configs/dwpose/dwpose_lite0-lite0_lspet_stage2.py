# DWPose's second stage with a pretrained backbone, in a fifth of the epochs, with the released recipe: a constant rate
# after the warm-up, and the averaged weights are the result. Train dwpose_lite0w-lite0_lspet_stage1.py first, in the
# same working folder, or let the environment variable LSPET_STAGE1 name any finished checkpoint of this student.
_base_ = ['./rtmcc-lite0_lspet.py', '../_base_/distill/dwpose_lspet.py']
load_from = '{{$LSPET_STAGE1:work_dirs/dwpose_lite0w-lite0_lspet_stage1/epoch_20.pth}}'
max_epochs = max(_base_.max_epochs // 5, 1)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [_base_.warmup]
custom_hooks = [dict(momentum=10 / (max_epochs * _base_.epoch_length), **_base_.average)]
default_hooks = dict(
    distill=dict(
        distillers=dict(
            simcc=dict(
                type='kd_plugins.SimCCDistiller', x='head.cls_x', y='head.cls_y', reduction='reference', weight=1.0
            )
        ),
        **_base_.dwpose_stage2,
    )
)
