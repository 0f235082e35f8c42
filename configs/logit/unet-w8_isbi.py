# The small UNet on ISBI at half its width: 8 to 128 channels. Its head learns ten times faster, as in SegFormer's
# configs: at the rate of the backbone all class weights first turn to the frequent class, and 720 steps are too few to
# turn back.
_base_ = '../dual_self/unet_isbi.py'
model = dict(backbone=dict(base_channels=8), decode_head=dict(in_channels=8, channels=8))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}))
