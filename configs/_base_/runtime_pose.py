# The runtime of the small pose estimators: MMPose's defaults, bit-exact resume, the best checkpoint by PCK.
_base_ = 'mmpose::_base_/default_runtime.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
# One validation costs as much as a third of an epoch.
train_cfg = dict(max_epochs=15, val_interval=5)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=2, save_best='PCK', rule='greater'),
    epoch_seed=dict(type='kd_plugins.EpochSeedHook'),
    channels_last=dict(type='kd_plugins.ChannelsLastHook'),
)
randomness = dict(seed=0)
# RTMPose's average of the weights, for `custom_hooks`. Its momentum comes from the length of the run: RTMPose's own,
# 0.0002, spans 5000 iterations, more than a run of these configs has.
average = dict(type='EMAHook', update_buffers=True, priority=49)
