# D-FINE-X, 62.6 million parameters: HGNetV2-B5, an encoder of 384 channels before a decoder of 256, finer edge bins.
_base_ = './dfine_l.py'
model = dict(
    backbone=dict(arch='B5'),
    neck=dict(out_channels=384),
    encoder=dict(in_channels=[384, 384, 384], feedforward_channels=2048, out_channels=256),
    bbox_head=dict(reg_scale=8.0),
)
