# The small UNet on ISBI with an auxiliary head, which reads the decoder at half the resolution: the baseline of USKD.
_base_ = './unet-w8_isbi.py'
model = dict(
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=16,
        in_index=3,
        channels=8,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=2,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'auxiliary_head': dict(lr_mult=10.0)}))
