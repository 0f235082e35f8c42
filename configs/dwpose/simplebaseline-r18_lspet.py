# SimpleBaseline with ResNet-18 from scratch on LSPE at 128x160: the plain student with heatmaps.
_base_ = [
    '../_base_/models/simplebaseline_r18.py',
    '../_base_/datasets/lspet_heatmap.py',
    '../_base_/schedules/rtmpose_scratch.py',
    '../_base_/runtime_pose.py',
]
model = dict(head=dict(out_channels=14, decoder=_base_.codec))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
