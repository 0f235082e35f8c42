# RT-DETR with ResNet-18-vd on COCO, four GPUs with 4 images each: 72 epochs with strong augmentation and several sizes.
_base_ = [
    '../_base_/models/rtdetr_r18vd.py',
    '../_base_/datasets/coco_640.py',
    '../_base_/schedules/rtdetr_r18vd.py',
]
model = dict(
    data_preprocessor=dict(batch_augments=_base_.multi_scale),
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/resnet18vd.pth', prefix='backbone.')),
)
train_dataloader = dict(batch_size=4)
