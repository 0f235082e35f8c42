# The first stage with heatmaps: SimpleBaseline with ResNet-18 teaches one of half its width.
_base_ = './simplebaseline-r18w32_lspet.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='configs/dwpose/simplebaseline-r18_lspet.py',
            checkpoint='{{$LSPET_HEATMAP_TEACHER:work_dirs/simplebaseline-r18_lspet/epoch_15.pth}}',
        ),
        distillers=dict(
            # From scratch the peaks reach a third of their height, so that softmax(10 h) would be nearly flat.
            heatmap=dict(
                type='kd_plugins.HeatmapDistiller',
                heatmap='head.final_layer',
                beta=30.0,
                reduction='task',
                weight=dict(type='kd_plugins.LinearDecay', value=0.5),
            ),
            # Both weights by the gradient on a student of 14 epochs: as much as the task's, and a twentieth of it.
            feature=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='backbone',
                kind='mse',
                reduction='sum',
                weight=dict(type='kd_plugins.LinearDecay', value=1e-6),
            ),
        ),
    )
)
