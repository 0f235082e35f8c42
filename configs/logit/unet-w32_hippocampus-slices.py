# The same with four times the channels: the teacher of the small UNet.
_base_ = './unet-w8_hippocampus-slices.py'
model = dict(backbone=dict(base_channels=32), decode_head=dict(in_channels=32, channels=32))
