# LiDAR scenes made by casting rays, 400 for training, 100 for validation. `kd_plugins data lidar-scenes` makes them.
# The environment variable LIDAR_SCENES_ROOT names another folder.
_base_ = './loaders.py'
dataset_type = 'KittiDataset'
data_root = '{{$LIDAR_SCENES_ROOT:data/lidar_scenes}}/'
metainfo = dict(classes=('Pedestrian', 'Cyclist', 'Car'), palette=[(220, 20, 60), (60, 179, 113), (65, 105, 225)])
point_cloud_range = [-20.8, -20.8, -3, 20.8, 20.8, 1]

train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=[-0.78539816, 0.78539816], scale_ratio_range=[0.95, 1.05]),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]
test_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='Pack3DDetInputs', keys=['points']),
]
train_dataloader = dict(
    batch_size=4,
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(pts='train/'),
        pipeline=train_pipeline,
        modality=dict(use_lidar=True, use_camera=False),
        metainfo=metainfo,
        box_type_3d='LiDAR',
    ),
)
val_dataloader = dict(
    batch_size=4,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(pts='val/'),
        pipeline=test_pipeline,
        modality=dict(use_lidar=True, use_camera=False),
        metainfo=metainfo,
        box_type_3d='LiDAR',
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='kd_plugins.LidarAPMetric',
    levels=['all'],
    min_overlap=dict(Pedestrian=0.25, Cyclist=0.25, Car=0.5),  # KITTI's looser ones
)
test_evaluator = val_evaluator
