# DynUNet at the width of the released dual self-distillation: 32 to 320 filters, residual blocks, 32-voxel patches.
_base_ = './dynunet_small.py'
model = dict(network=dict(filters=(32, 64, 128, 256, 320), res_block=True))
