# D-FINE-M, 19.6 million parameters: HGNetV2-B2, 4 decoder layers.
_base_ = './dfine.py'
model = dict(
    backbone=dict(arch='B2'),
    neck=dict(in_channels=[384, 768, 1536]),
    encoder=dict(num_blocks=2),
    decoder=dict(num_layers=4),
)
