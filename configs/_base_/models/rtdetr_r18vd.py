# RT-DETR with ResNet-18-vd, RT-DETRv2-S: 20 million parameters, a narrow neck, 3 decoder layers.
_base_ = './rtdetr.py'
model = dict(
    backbone=dict(
        type='kd_plugins.ResNetVD',
        depth=18,
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
    ),
    neck=dict(in_channels=[128, 256, 512]),
    encoder=dict(expansion=0.5),
    decoder=dict(num_layers=3),
)
