# RT-DETR with ResNet-101-vd, RT-DETRv2-X: 76 million parameters, an encoder of 384 channels before a decoder of 256.
_base_ = './rtdetr_r50vd.py'
model = dict(
    backbone=dict(depth=101),
    neck=dict(out_channels=384),
    encoder=dict(in_channels=[384, 384, 384], feedforward_channels=2048),
)
