# The small UNet on ISBI at half its width: 8 to 128 channels.
_base_ = '../dual_self/unet_isbi.py'
model = dict(backbone=dict(base_channels=8), decode_head=dict(in_channels=8, channels=8))
