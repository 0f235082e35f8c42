# The small DINO on BCCD, taught by one that has finished, at the teacher's queries and at random boxes: train
# dfine/dino_r18_bccd.py first, in the same working folder and better for longer than its 12 epochs, or let the
# environment variable BCCD_DINO_TEACHER name a checkpoint.
_base_ = '../dfine/dino_r18_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::dfine/dino_r18_bccd.py',
            checkpoint='{{$BCCD_DINO_TEACHER:work_dirs/dino_r18_bccd/epoch_12.pth}}',
        ),
        distillers=dict(
            queries=dict(
                type='kd_plugins.QueryDistiller',
                points=('specific', 'general'),
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=100),
            )
        ),
    )
)
