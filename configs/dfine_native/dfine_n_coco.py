# D-FINE-N on COCO, four GPUs with 32 images each: 148 epochs with strong augmentation,
# and 12 epochs without, from the best weights.
_base_ = [
    '../_base_/models/dfine_n.py',
    '../_base_/datasets/coco_640.py',
    '../_base_/schedules/dfine_n.py',
]
model = dict(backbone=dict(weights='checkpoints/PPHGNetV2_B0_stage1.pth'))
train_dataloader = dict(batch_size=32)
train_cfg = dict(max_epochs=160)
default_hooks = dict(
    second_stage=dict(type='kd_plugins.SecondStageHook', stop_epoch=148, pipeline=_base_.second_stage_pipeline)
)
