# The student, taught by the finished teacher: the local graphs of the 1000 pillars with the most points
# (`tools/train.py configs/local_graph/pointpillars_scenes.py` first).
_base_ = './pointpillars_x4_scenes.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='configs/local_graph/pointpillars_scenes.py',
            checkpoint='{{$SCENES_TEACHER:work_dirs/pointpillars_scenes/epoch_12.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(
            local=dict(
                type='kd_plugins.LocalGraphDistiller',
                student_tap='voxel_encoder',
                points='voxel',
                importance='count',
                num_points=1000,
                num_neighbours=32,
                channels=16,
                weight=0.3,
            ),
        ),
    ),
)
