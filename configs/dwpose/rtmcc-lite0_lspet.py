# RTMCC with a narrow head on a pretrained EfficientNet-Lite0, LSPE at 128x160: the plain student. The environment
# variable LSPET_EPOCHS sets the number of epochs; the schedule and the average of the weights follow it.
_base_ = [
    '../_base_/models/rtmcc_lite0.py',
    '../_base_/datasets/lspet_128x160.py',
    '../_base_/schedules/pose_finetune.py',
    '../_base_/runtime_pose.py',
]
max_epochs = {{'$LSPET_EPOCHS:20'}}
# A photograph counts once an epoch: 2000 in batches of 64.
epoch_length = 32
model = dict(
    # The early stages keep their ImageNet weights, in every arm: half the time of a step.
    backbone=dict(frozen_stages=3, norm_eval=True),
    head=dict(
        out_channels=14,
        input_size=(128, 160),
        in_featuremap_size=(4, 5),
        decoder=_base_.codec,
        gau_cfg=dict(hidden_dims=128, s=64),
    ),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [_base_.warmup, dict(begin=max_epochs // 2, **_base_.cosine)]
custom_hooks = [dict(momentum=10 / (max_epochs * epoch_length), **_base_.average)]
