# D-FINE-L, 31.2 million parameters: HGNetV2-B4 with a frozen stem and frozen norms, 6 decoder layers.
_base_ = './dfine.py'
model = dict(
    backbone=dict(arch='B4', use_lab=False, frozen_stem=True, frozen_norm=True),
    neck=dict(in_channels=[512, 1024, 2048]),
    decoder=dict(num_layers=6),
)
