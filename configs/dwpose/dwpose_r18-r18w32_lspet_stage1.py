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
            heatmap=dict(
                type='kd_plugins.HeatmapDistiller',
                heatmap='head.final_layer',
                reduction='task',
                weight=dict(type='kd_plugins.LinearDecay', value=0.5),
            ),
            # A mean over pixels is the task loss here, not a sum over images: a weight a thousandth of RTMPose's.
            feature=dict(
                type='kd_plugins.FeatureDistiller',
                student='backbone',
                kind='mse',
                reduction='sum',
                weight=dict(type='kd_plugins.LinearDecay', value=7e-8),
            ),
        ),
    )
)
