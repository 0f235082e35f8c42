# KITTI's own folders, for a few frames: a check that training works, without a measurement. Training and validation
# read the same frames. The environment variable KITTI_ROOT names another folder than data/kitti.
_base_ = './loaders.py'
data_root = '{{$KITTI_ROOT:data/kitti}}/training/'
metainfo = dict(classes=('Pedestrian', 'Cyclist', 'Car'), palette=[(220, 20, 60), (60, 179, 113), (65, 105, 225)])
point_cloud_range = [0, -39.68, -3, 69.12, 39.68, 1]

load = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    # Only what the left colour camera shows is annotated.
    dict(type='kd_plugins.CameraView'),
]
train_pipeline = [
    *load,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]
test_pipeline = [
    *load,
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    # The metric reads the camera from `images`.
    dict(
        type='Pack3DDetInputs',
        keys=['points'],
        meta_keys=('sample_idx', 'lidar_path', 'box_mode_3d', 'box_type_3d', 'images'),
    ),
]
train_dataloader = dict(
    batch_size=3,
    dataset=dict(
        type='RepeatDataset',
        times=10,
        dataset=dict(
            type='kd_plugins.KittiFolder',
            data_root=data_root,
            data_prefix=dict(pts='velodyne/'),
            pipeline=train_pipeline,
            metainfo=metainfo,
            box_type_3d='LiDAR',
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type='kd_plugins.KittiFolder',
        data_root=data_root,
        data_prefix=dict(pts='velodyne/'),
        pipeline=test_pipeline,
        metainfo=metainfo,
        box_type_3d='LiDAR',
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
# KITTI's own sampling of recall cannot rise above (objects - 1) / 40.
val_evaluator = dict(type='kd_plugins.LidarAPMetric', levels=['all', 'moderate'], sampling='exact')
test_evaluator = val_evaluator
