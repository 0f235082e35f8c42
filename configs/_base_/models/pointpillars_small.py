# A PointPillars that a CPU can train from scratch: half of MMDetection3D's channels, fewer layers, and pillars of 0.4 m
# on 42 x 42 m around a sensor that stands 1.73 m above the ground. The head has one location per pillar.
voxel_size = [0.4, 0.4, 4]
pillar_range = [-20.8, -20.8, -3, 20.8, 20.8, 1]
# For `model` in a child: about a quarter of parameters and operations.
half_channels = dict(
    voxel_encoder=dict(feat_channels=[16]),
    middle_encoder=dict(in_channels=16),
    backbone=dict(in_channels=16, out_channels=[16, 32, 64]),
    neck=dict(in_channels=[16, 32, 64], out_channels=[32, 32, 32]),
    bbox_head=dict(in_channels=96, feat_channels=96),
)
# About a sixteenth of parameters and operations.
quarter_channels = dict(
    voxel_encoder=dict(feat_channels=[8]),
    middle_encoder=dict(in_channels=8),
    backbone=dict(in_channels=8, out_channels=[8, 16, 32]),
    neck=dict(in_channels=[8, 16, 32], out_channels=[16, 16, 16]),
    bbox_head=dict(in_channels=48, feat_channels=48),
)
model = dict(
    type='VoxelNet',
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        voxel=True,
        voxel_layer=dict(
            max_num_points=10, point_cloud_range=pillar_range, voxel_size=voxel_size, max_voxels=(6000, 6000)
        ),
    ),
    voxel_encoder=dict(
        type='PillarFeatureNet',
        in_channels=4,
        feat_channels=[32],
        with_distance=False,
        voxel_size=voxel_size,
        point_cloud_range=pillar_range,
        norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.1),
        legacy=False,  # as in the paper: coordinates and their offsets; the input tensor is not changed in place
    ),
    middle_encoder=dict(type='PointPillarsScatter', in_channels=32, output_shape=[104, 104]),
    # Statistics of BatchNorm follow faster than MMDetection3D's (momentum 0.01): these trainings are short.
    backbone=dict(
        type='SECOND',
        in_channels=32,
        layer_nums=[2, 3, 3],
        layer_strides=[1, 2, 2],
        out_channels=[32, 64, 128],
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1),
    ),
    neck=dict(
        type='SECONDFPN',
        in_channels=[32, 64, 128],
        upsample_strides=[1, 2, 4],
        out_channels=[64, 64, 64],
        norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1),
    ),
    bbox_head=dict(
        type='Anchor3DHead',
        num_classes=3,
        in_channels=192,
        feat_channels=192,
        use_direction_classifier=True,
        assign_per_class=True,
        anchor_generator=dict(
            type='AlignedAnchor3DRangeGenerator',
            ranges=[[-20.8, -20.8, -1.73, 20.8, 20.8, -1.73]] * 3,
            sizes=[[0.8, 0.6, 1.73], [1.76, 0.6, 1.73], [3.9, 1.6, 1.56]],
            rotations=[0, 1.57],
            reshape_out=False,
        ),
        diff_rad_by_sin=True,
        bbox_coder=dict(type='DeltaXYZWLHRBBoxCoder'),
        loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1.0 / 9.0, loss_weight=2.0),
        loss_dir=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False, loss_weight=0.2),
    ),
    train_cfg=dict(
        assigner=[
            dict(
                type='Max3DIoUAssigner',
                iou_calculator=dict(type='mmdet3d.BboxOverlapsNearest3D'),
                pos_iou_thr=positive,
                neg_iou_thr=negative,
                min_pos_iou=negative,
                ignore_iof_thr=-1,
            )
            for positive, negative in ((0.5, 0.35), (0.5, 0.35), (0.6, 0.45))
        ],
        allowed_border=0,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        use_rotate_nms=True,
        nms_across_levels=False,
        nms_thr=0.01,
        score_thr=0.05,
        min_bbox_size=0,
        nms_pre=200,
        max_num=50,
    ),
)
