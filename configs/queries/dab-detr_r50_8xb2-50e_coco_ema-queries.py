# DAB-DETR-R50 on COCO, taught by the moving average of itself at the average's queries and at random boxes.
_base_ = 'mmdet::dab_detr/dab-detr_r50_8xb2-50e_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=2e-4, begin=15, by_epoch=True),
        distillers=dict(
            queries=dict(
                type='kd_plugins.QueryDistiller',
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=15, end=16, by_epoch=True),
            )
        ),
    )
)
