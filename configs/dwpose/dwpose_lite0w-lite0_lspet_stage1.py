# DWPose's first stage with a pretrained backbone, with the weights and the reduction of the release: the wide head
# teaches the narrow one. Train rtmcc-lite0w_lspet.py first, in the same working folder, or let the environment variable
# LSPET_TEACHER name a checkpoint. With another batch size, use `reduction='task'` and a weight of 0.45 instead of 0.1.
_base_ = ['./rtmcc-lite0_lspet.py', '../_base_/distill/dwpose_lspet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::dwpose/rtmcc-lite0w_lspet.py',
            checkpoint='{{$LSPET_TEACHER:work_dirs/rtmcc-lite0w_lspet/epoch_40.pth}}',
        ),
        distillers=dict(
            simcc=dict(
                type='kd_plugins.SimCCDistiller',
                x='head.cls_x',
                y='head.cls_y',
                reduction='reference',
                weight=dict(type='kd_plugins.LinearDecay', value=0.1),
            ),
            feature=dict(weight=dict(type='kd_plugins.LinearDecay', value=7e-5), **_base_.dwpose_feature),
        ),
    )
)
