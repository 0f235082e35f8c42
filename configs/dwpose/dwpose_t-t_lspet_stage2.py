# DWPose's second stage on LSPE, in a fifth of the epochs: the result of the first one teaches a new head of its own.
_base_ = './rtmpose-t_lspet.py'
load_from = '{{$LSPET_STAGE1:work_dirs/dwpose_s-t_lspet_stage1/epoch_15.pth}}'
train_cfg = dict(max_epochs=3)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        restart=dict(parts=['head']),
        task_weight=0.0,
        teacher=dict(type='kd_plugins.FinishedTeacher'),
        distillers=dict(simcc=dict(type='kd_plugins.SimCCDistiller', x='head.cls_x', y='head.cls_y', weight=1.0)),
    )
)
