# The runtime of the small LiDAR detectors: MMDetection3D's defaults, and bit-exact resume.
_base_ = 'mmdet3d::_base_/default_runtime.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=2, save_best='lidar/3d_mAP', rule='greater'),
    epoch_seed=dict(type='kd_plugins.EpochSeedHook'),
    channels_last=dict(type='kd_plugins.ChannelsLastHook'),
)
randomness = dict(seed=0)
