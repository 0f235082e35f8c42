# The small DINO on BCCD, taught by the moving average of itself, at the average's queries, in the last eight of its
# twelve epochs.
_base_ = '../dfine/dino_r18_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=0.02, begin=4, by_epoch=True),
        distillers=dict(
            queries=dict(
                type='kd_plugins.QueryDistiller',
                points=('specific',),
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=4, end=5, by_epoch=True),
            )
        ),
    )
)
