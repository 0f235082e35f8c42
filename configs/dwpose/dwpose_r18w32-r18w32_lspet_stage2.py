# The second stage with heatmaps: the result of the first one teaches a new head of its own.
_base_ = './simplebaseline-r18w32_lspet.py'
load_from = '{{$LSPET_HEATMAP_STAGE1:work_dirs/dwpose_r18-r18w32_lspet_stage1/epoch_15.pth}}'
train_cfg = dict(max_epochs=3)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        restart=dict(parts=['head']),
        task_weight=0.0,
        teacher=dict(type='kd_plugins.FinishedTeacher'),
        distillers=dict(
            heatmap=dict(type='kd_plugins.HeatmapDistiller', heatmap='head.final_layer', beta=30.0, weight=1.0)
        ),
    )
)
