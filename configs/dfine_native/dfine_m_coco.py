# D-FINE-M on COCO, four GPUs with 8 images each: 120 epochs with strong augmentation and several sizes,
# and 12 epochs without, from the best weights.
_base_ = [
    '../_base_/models/dfine_m.py',
    '../_base_/datasets/coco_640.py',
    '../_base_/schedules/dfine_m.py',
]
model = dict(
    data_preprocessor=dict(batch_augments=_base_.multi_scale),
    backbone=dict(weights='checkpoints/PPHGNetV2_B2_stage1.pth'),
)
train_cfg = dict(max_epochs=132)
default_hooks = dict(
    second_stage=dict(type='kd_plugins.SecondStageHook', stop_epoch=120, pipeline=_base_.second_stage_pipeline)
)
