# The small GFL, taught the local graphs of a wider one's pyramid: train gfl_r34_bccd.py first, in the same working
# folder, or let the environment variable BCCD_R34 name a checkpoint.
_base_ = ['../gfl/gfl_r18_bccd.py', '../_base_/distill/pyramid_graph.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::gfl/gfl_r34_bccd.py',
            checkpoint='{{$BCCD_R34:work_dirs/gfl_r34_bccd/epoch_16.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(
            graph=dict(
                weight=dict(type='kd_plugins.LinearWarmup', value=0.25, end=100),
                **_base_.pyramid_graph,
            ),
        ),
    )
)
