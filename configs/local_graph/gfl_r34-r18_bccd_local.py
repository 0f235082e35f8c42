# The small GFL, taught the local graphs of a wider one's pyramid (`tools/train.py configs/gfl/gfl_r34_bccd.py` first).
_base_ = '../gfl/gfl_r18_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='configs/gfl/gfl_r34_bccd.py',
            checkpoint='{{$BCCD_R34:work_dirs/gfl_r34_bccd/epoch_16.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(
            graph=dict(
                type='kd_plugins.LocalGraphDistiller',
                student_tap='neck.fpn_convs.*',
                num_points=256,
                num_neighbours=16,
                weight=dict(type='kd_plugins.LinearWarmup', value=0.25, end=100),
            )
        ),
    )
)
