# The small PointPillars on three frames of KITTI, in KITTI's range: a run that overfits, and the teacher of the next.
_base_ = [
    '../_base_/models/pointpillars_small.py',
    '../_base_/datasets/kitti_mini.py',
    '../_base_/schedules/lidar_12e.py',
    '../_base_/runtime_det3d.py',
]
voxel_size = [0.32, 0.32, 4]
point_cloud_range = [0, -39.68, -3, 69.12, 39.68, 1]
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(point_cloud_range=point_cloud_range, voxel_size=voxel_size, max_voxels=(12000, 12000))
    ),
    voxel_encoder=dict(point_cloud_range=point_cloud_range, voxel_size=voxel_size),
    middle_encoder=dict(output_shape=[248, 216]),
    backbone=dict(layer_strides=[2, 2, 2]),
    bbox_head=dict(
        anchor_generator=dict(
            ranges=[
                [0, -39.68, -0.6, 69.12, 39.68, -0.6],
                [0, -39.68, -0.6, 69.12, 39.68, -0.6],
                [0, -39.68, -1.78, 69.12, 39.68, -1.78],
            ],
        ),
    ),
)

max_epochs = 15
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, eta_min=4e-5, convert_to_iter_based=True),
]
