# SimpleBaseline with ResNet-18 from scratch on LSPE at 96x128: the teacher of the first stage with heatmaps.
_base_ = [
    '../_base_/models/simplebaseline_r18.py',
    '../_base_/datasets/lspet_heatmap.py',
    '../_base_/schedules/rtmpose_scratch.py',
    '../_base_/runtime_pose.py',
]
model = dict(head=dict(out_channels=14, decoder=_base_.codec))
