# The run with half the channels, taught by the one with all: the local graphs of the 1500 pillars with the most points
# (`tools/train.py configs/local_graph/pointpillars_kitti-mini.py` first).
_base_ = './pointpillars_x4_kitti-mini.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='configs/local_graph/pointpillars_kitti-mini.py',
            checkpoint='{{$KITTI_TEACHER:work_dirs/pointpillars_kitti-mini/epoch_15.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(
            local=dict(
                type='kd_plugins.LocalGraphDistiller',
                student_tap='voxel_encoder',
                points='voxel',
                importance='count',
                num_points=1500,
                num_neighbours=32,
                channels=16,
                weight=0.3,
            ),
        ),
    ),
)
