# RT-DETR with ResNet-50-vd, RT-DETRv2-L: 42 million parameters, a frozen stem, frozen norms, 6 decoder layers.
_base_ = './rtdetr.py'
model = dict(
    backbone=dict(depth=50, frozen_stages=0, norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True),
    neck=dict(in_channels=[512, 1024, 2048]),
    decoder=dict(num_layers=6),
)
