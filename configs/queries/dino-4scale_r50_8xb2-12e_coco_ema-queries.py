# DINO-R50 on COCO, taught by the moving average of itself at the average's queries and at random boxes.
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=2e-4, begin=4, by_epoch=True),
        distillers=dict(
            queries=dict(
                type='kd_plugins.QueryDistiller',
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=4, end=5, by_epoch=True),
            )
        ),
    )
)
