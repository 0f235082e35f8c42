# A UNet of 4 to 64 channels from scratch on slices of hippocampus volumes: two parts and the background. It is 93 % of
# the pixels: therefore the second loss is Dice of each class (Tversky's with equal weights) and not of all pixels
# together, and the head learns ten times faster, as in SegFormer's configs.
_base_ = [
    '../_base_/models/unet_small.py',
    '../_base_/datasets/hippocampus_slices_masks.py',
    '../_base_/schedules/seg_20e.py',
    '../_base_/runtime_seg.py',
]
max_epochs = 8
model = dict(
    backbone=dict(base_channels=4),
    decode_head=dict(
        in_channels=4,
        channels=4,
        num_classes=3,
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_name='loss_ce', loss_weight=1.0),
            dict(type='TverskyLoss', loss_name='loss_dice', alpha=0.5, beta=0.5, loss_weight=1.0),
        ],
    ),
)
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, T_max=max_epochs, eta_min=1e-5),
]
