# The small baseline, taught by the moving average of itself in the last six of its sixteen epochs.
_base_ = './gfl_r18_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=0.02, begin=10, by_epoch=True),
        distillers=dict(
            localization=dict(
                type='kd_plugins.LocalizationDistiller',
                temperature=5.0,
                weight=dict(type='kd_plugins.LinearWarmup', value=0.5, begin=10, end=11, by_epoch=True),
            )
        ),
    )
)
