# UNETR at MONAI's usual width: 12 layers, tokens of 768 numbers, 16 features, for patches of 32 voxels.
_base_ = './unetr_small.py'
model = dict(network=dict(feature_size=16, hidden_size=768, mlp_dim=3072, num_heads=12))
