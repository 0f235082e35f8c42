# D-FINE-M on Objects365, four GPUs with 8 images each, 36 epochs with strong augmentation to the end.
_base_ = [
    '../_base_/models/dfine_m.py',
    '../_base_/datasets/objects365_640.py',
    '../_base_/schedules/dfine_m.py',
]
model = dict(
    data_preprocessor=dict(batch_augments=_base_.multi_scale),
    backbone=dict(weights='checkpoints/PPHGNetV2_B2_stage1.pth'),
    bbox_head=dict(num_classes=365),
)
train_cfg = dict(max_epochs=36)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4, weight_decay=1.25e-4))
