# Half the channels everywhere, taught by the run before it: the local graphs of the 1500 pillars with the most points
# (`tools/train.py configs/local_graph/pointpillars_kitti-mini.py` first).
_base_ = './pointpillars_kitti-mini.py'
model = dict(
    voxel_encoder=dict(feat_channels=[16]),
    middle_encoder=dict(in_channels=16),
    backbone=dict(in_channels=16, out_channels=[16, 32, 64]),
    neck=dict(in_channels=[16, 32, 64], out_channels=[32, 32, 32]),
    bbox_head=dict(in_channels=96, feat_channels=96),
)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='configs/local_graph/pointpillars_kitti-mini.py',
            checkpoint='{{$KITTI_TEACHER:work_dirs/pointpillars_kitti-mini/epoch_15.pth}}',
            forward='extract_feat',
        ),
        distillers=dict(
            local=dict(
                type='kd_plugins.LocalGraphDistiller',
                student='voxel_encoder',
                points='voxel',
                importance='count',
                num_points=1500,
                num_neighbours=32,
                channels=16,
                weight=1.0,
            ),
        ),
    ),
)
