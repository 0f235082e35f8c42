# The native D-FINE-N on BCCD, taught by D-FINE-S, as a CPU trains it. N has half the width and the levels of stride 16
# and 32 alone: the content of a query is the student's own token at the teacher's box, and the maps of the encoder are
# compared on its two levels. Train dfine_s_bccd.py first, in the same working folder, or let the environment variable
# BCCD_DFINE_S name a checkpoint.
_base_ = '../dfine/dfine_n_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::dfine/dfine_s_bccd.py',
            checkpoint='{{$BCCD_DFINE_S:work_dirs/dfine_s_bccd/epoch_12.pth}}',
        ),
        distillers=dict(
            queries=dict(type='kd_plugins.QueryDistiller', points=('specific',), edge_weight=1.0, weight=1.0),
            maps=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='encoder.*_blocks.0',
                teacher_tap='encoder.pan_blocks.*',
                kind='pearson',
                weight=2.0,
            ),
        ),
    )
)
