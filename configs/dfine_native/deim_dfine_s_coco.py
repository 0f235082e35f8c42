# DEIM-D-FINE-S on COCO (arXiv 2412.04234): D-FINE-S with the matchability-aware loss, SiLU in decoder and head, and
# dense one-to-one matching in the epochs 5 to 64. Mosaic and blending end at epoch 64, the other strong steps and
# several sizes at 120.
_base_ = [
    '../_base_/models/dfine_s.py',
    '../_base_/datasets/coco_640_dense.py',
    '../_base_/schedules/dfine_s.py',
]
silu = dict(type='SiLU')
model = dict(
    data_preprocessor=dict(batch_augments=_base_.multi_scale),
    backbone=dict(weights='checkpoints/PPHGNetV2_B0_stage1.pth'),
    decoder=dict(act_cfg=silu, layer_cfg=dict(ffn_cfg=dict(act_cfg=silu))),
    bbox_head=dict(act_cfg=silu, loss_cls=dict(type='kd_plugins.MALLoss')),
)
train_cfg = dict(max_epochs=132)
optim_wrapper = dict(
    optimizer=dict(lr=4e-4),
    # Biases decay in DEIM.
    paramwise_cfg=dict(bias_decay_mult=1.0, custom_keys=dict(in_proj_bias=dict(decay_mult=1.0))),
)
param_scheduler = [
    dict(type='mmdet.QuadraticWarmupLR', by_epoch=False, begin=0, end=2000),
    dict(type='CosineAnnealingLR', begin=64, end=120, T_max=56, eta_min_ratio=0.5, convert_to_iter_based=True),
]
default_hooks = dict(
    dense=dict(type='mmdet.PipelineSwitchHook', switch_epoch=4, switch_pipeline=_base_.dense_pipeline),
    dense_end=dict(type='mmdet.PipelineSwitchHook', switch_epoch=64, switch_pipeline=_base_.train_pipeline),
    second_stage=dict(type='kd_plugins.SecondStageHook', stop_epoch=120, pipeline=_base_.second_stage_pipeline),
)
