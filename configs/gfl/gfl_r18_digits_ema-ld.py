# The slim GFL-R18 on digits, whose moving average teaches it where edges lie, in the second half of
# training.
_base_ = './gfl_r18_digits.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=0.01, begin=4, by_epoch=True),
        distillers=dict(
            localization=dict(
                type='kd_plugins.LocalizationDistiller',
                temperature=5.0,
                weight=dict(type='kd_plugins.LinearWarmup', value=0.5, begin=4, end=5, by_epoch=True),
            )
        ),
    )
)
