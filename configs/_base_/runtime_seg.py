# The runtime of the small segmentation configs: MMSegmentation's defaults by epoch, bit-exact resume.
_base_ = 'mmseg::_base_/default_runtime.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='mDice', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
    epoch_seed=dict(type='kd_plugins.EpochSeedHook'),
    channels_last=dict(type='kd_plugins.ChannelsLastHook'),
)
log_processor = dict(by_epoch=True)
randomness = dict(seed=0)
