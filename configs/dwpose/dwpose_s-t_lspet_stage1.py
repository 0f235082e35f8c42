# DWPose's first stage on LSPE: RTMPose-s (`tools/train.py configs/dwpose/rtmpose-s_lspet.py` first) teaches RTMPose-t.
_base_ = './rtmpose-t_lspet.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='configs/dwpose/rtmpose-s_lspet.py',
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
            feature=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='backbone',
                kind='mse',
                reduction='sum',
                weight=dict(type='kd_plugins.LinearDecay', value=7e-5),
            ),
        ),
    )
)
