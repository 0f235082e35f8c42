# D-FINE-L on Objects365, four GPUs with 8 images each, 24 epochs with strong augmentation to the end.
_base_ = [
    '../_base_/models/dfine_l.py',
    '../_base_/datasets/objects365_640.py',
    '../_base_/schedules/dfine_l.py',
]
model = dict(
    data_preprocessor=dict(batch_augments=_base_.multi_scale),
    backbone=dict(weights='checkpoints/PPHGNetV2_B4_stage1.pth'),
    bbox_head=dict(num_classes=365),
)
train_cfg = dict(max_epochs=24)
