# DWPose's first stage on LSPE: RTMPose-s teaches RTMPose-t. Train rtmpose-s_lspet.py first, in the same working folder,
# or let the environment variable LSPET_TEACHER name a checkpoint.
_base_ = ['./rtmpose-t_lspet.py', '../_base_/distill/dwpose_lspet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::dwpose/rtmpose-s_lspet.py',
            checkpoint='{{$LSPET_TEACHER:work_dirs/rtmpose-s_lspet/epoch_15.pth}}',
        ),
        distillers=dict(
            # The released ratio to the task loss at this input and a batch of 64.
            simcc=dict(
                type='kd_plugins.SimCCDistiller',
                x='head.cls_x',
                y='head.cls_y',
                reduction='task',
                weight=dict(type='kd_plugins.LinearDecay', value=0.5),
            ),
            feature=dict(weight=dict(type='kd_plugins.LinearDecay', value=7e-5), **_base_.dwpose_feature),
        ),
    )
)
