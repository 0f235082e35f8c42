# A quarter of the training images, taught by the moving average of itself in the last ten of its 24 epochs.
_base_ = './gfl_r18_bccd_quarter.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=0.02, begin=14, by_epoch=True),
        distillers=dict(
            localization=dict(
                type='kd_plugins.LocalizationDistiller',
                temperature=5.0,
                weight=dict(type='kd_plugins.LinearWarmup', value=0.5, begin=14, end=16, by_epoch=True),
            )
        ),
    )
)
