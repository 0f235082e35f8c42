# D-FINE-S on COCO, taught by a finished D-FINE-X: class scores, boxes and edge distributions at the teacher's queries,
# and the three maps of the encoder. The teacher is a checkpoint that `kd_plugins convert` made of a released file; the
# environment variable DFINE_X_COCO names it. The weights of the terms are not tuned.
_base_ = './dfine_s_coco.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::dfine_native/dfine_x_coco.py',
            checkpoint='{{$DFINE_X_COCO:checkpoints/dfine_x_coco_mmdet.pth}}',
        ),
        distillers=dict(
            queries=dict(type='kd_plugins.QueryDistiller', points=('specific',), edge_weight=1.0, weight=1.0),
            maps=dict(type='kd_plugins.FeatureDistiller', student_tap='encoder', kind='pearson', weight=3.0),
        ),
    )
)
