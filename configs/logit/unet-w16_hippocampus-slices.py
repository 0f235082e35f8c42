# The same with four times the channels: the teacher of the small UNet.
_base_ = './unet-w4_hippocampus-slices.py'
model = dict(backbone=dict(base_channels=16), decode_head=dict(in_channels=16, channels=16))
