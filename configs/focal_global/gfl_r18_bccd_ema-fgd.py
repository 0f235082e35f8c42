# The small GFL on BCCD, taught its own pyramid by its moving average in the last six of its sixteen epochs.
_base_ = ['../gfl/gfl_r18_bccd.py', '../_base_/distill/focal_global.py']
schedule = dict(type='kd_plugins.LinearWarmup', value=0.03, begin=10, end=11, by_epoch=True)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=0.02, begin=10, by_epoch=True, mode='extract_feat'),
        distillers=dict(fgd=dict(_base_.small, weight=schedule)),
    )
)
