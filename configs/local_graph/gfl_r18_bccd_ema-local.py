# The small GFL, taught the local graphs of its own moving average in the last six of its sixteen epochs.
_base_ = ['../gfl/gfl_r18_bccd.py', '../_base_/distill/pyramid_graph.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=0.02, begin=10, by_epoch=True, mode='extract_feat'),
        distillers=dict(
            graph=dict(
                weight=dict(type='kd_plugins.LinearWarmup', value=0.5, begin=10, end=11, by_epoch=True),
                **_base_.pyramid_graph,
            ),
        ),
    )
)
