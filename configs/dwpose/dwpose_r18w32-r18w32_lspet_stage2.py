# The second stage with heatmaps: the result of the first one teaches a new head of its own. Train
# dwpose_r18-r18w32_lspet_stage1.py first, in the same working folder, or let LSPET_HEATMAP_STAGE1 name a checkpoint.
_base_ = ['./simplebaseline-r18w32_lspet.py', '../_base_/distill/dwpose_lspet.py']
load_from = '{{$LSPET_HEATMAP_STAGE1:work_dirs/dwpose_r18-r18w32_lspet_stage1/epoch_15.pth}}'
train_cfg = dict(max_epochs=3)
default_hooks = dict(
    distill=dict(
        distillers=dict(
            heatmap=dict(type='kd_plugins.HeatmapDistiller', heatmap='head.final_layer', beta=30.0, weight=1.0)
        ),
        **_base_.dwpose_stage2,
    )
)
