# A UNETR that a CPU can train: tokens of 96 numbers, 8 to 64 features, 2.0 million weights, patches of 32 voxels.
model = dict(
    type='kd_plugins.VolumetricSegmentor',
    network=dict(
        type='UNETR',
        in_channels=1,
        out_channels=2,
        img_size=(32, 32, 32),
        feature_size=8,
        hidden_size=96,
        mlp_dim=192,
        num_heads=6,
    ),
    loss=dict(type='DiceCELoss', to_onehot_y=True, softmax=True),
    inferer=dict(type='SlidingWindowInferer', roi_size=(32, 32, 32), sw_batch_size=4, overlap=0.5, mode='gaussian'),
)
