# The first stage with heatmaps: SimpleBaseline with ResNet-18 teaches one of half its width. Train
# simplebaseline-r18_lspet.py first, in the same working folder, or let LSPET_HEATMAP_TEACHER name a checkpoint.
_base_ = ['./simplebaseline-r18w32_lspet.py', '../_base_/distill/dwpose_lspet.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::dwpose/simplebaseline-r18_lspet.py',
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
            feature=dict(weight=dict(type='kd_plugins.LinearDecay', value=1e-6), **_base_.dwpose_feature),
        ),
    )
)
