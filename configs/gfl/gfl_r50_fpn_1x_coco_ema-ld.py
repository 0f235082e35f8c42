# GFL-R50 on COCO, taught by the moving average of itself.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=2e-4),
        distillers=dict(
            localization=dict(
                type='kd_plugins.LocalizationDistiller',
                temperature=5.0,
                weight=dict(type='kd_plugins.LinearWarmup', value=1.5, end=500),
            )
        ),
    )
)
