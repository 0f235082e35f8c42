# The half-width GFL, taught the local graphs of the small one (`tools/train.py configs/gfl/gfl_r18_bccd.py` first).
_base_ = '../gfl/gfl_r18w32_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='configs/gfl/gfl_r18_bccd.py',
            checkpoint='{{$BCCD_TEACHER:work_dirs/gfl_r18_bccd/epoch_16.pth}}',
            forward='extract_feat',
        ),
        distillers=dict(
            graph=dict(
                type='kd_plugins.LocalGraphDistiller',
                student='neck.fpn_convs.*',
                num_points=256,
                num_neighbours=16,
                weight=dict(type='kd_plugins.LinearWarmup', value=0.25, end=100),
            )
        ),
    )
)
