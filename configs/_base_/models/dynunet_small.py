# A five-level DynUNet (MONAI's nnU-Net) that a CPU can train: 8 to 128 filters, 1.4 million weights, 32-voxel patches.
model = dict(
    type='kd_plugins.VolumetricSegmentor',
    network=dict(
        type='DynUNet',
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        kernel_size=(3, 3, 3, 3, 3),
        strides=(1, 2, 2, 2, 2),
        upsample_kernel_size=(2, 2, 2, 2),
        filters=(8, 16, 32, 64, 128),
    ),
    loss=dict(type='DiceCELoss', to_onehot_y=True, softmax=True),
    inferer=dict(type='SlidingWindowInferer', roi_size=(32, 32, 32), sw_batch_size=4, overlap=0.5, mode='gaussian'),
)
