# D-FINE-N on Objects365, four GPUs with 32 images each, 48 epochs with strong augmentation to the end.
_base_ = [
    '../_base_/models/dfine_n.py',
    '../_base_/datasets/objects365_640.py',
    '../_base_/schedules/dfine_n.py',
]
model = dict(backbone=dict(weights='checkpoints/PPHGNetV2_B0_stage1.pth'), bbox_head=dict(num_classes=365))
train_dataloader = dict(batch_size=32)
train_cfg = dict(max_epochs=48)
