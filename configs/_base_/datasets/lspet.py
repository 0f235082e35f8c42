# Leeds Sports Pose Extended: 2000 training and 500 validation photographs of one athlete each, 14 joints, all visible.
# `kd_plugins data lspet` fetches them. The environment variable LSPET_ROOT names another folder.
# The areas in the files are those of the boxes, about twice a person's, so AP is higher than COCO's own would be.
_base_ = './loaders.py'
dataset_type = 'CocoDataset'
data_root = '{{$LSPET_ROOT:data/lspet}}/'

right, left, middle = [255, 128, 0], [0, 255, 0], [51, 153, 255]
metainfo = dict(
    dataset_name='lspet',
    classes=('person',),
    keypoint_info={
        0: dict(name='right_ankle', id=0, color=right, type='lower', swap='left_ankle'),
        1: dict(name='right_knee', id=1, color=right, type='lower', swap='left_knee'),
        2: dict(name='right_hip', id=2, color=right, type='lower', swap='left_hip'),
        3: dict(name='left_hip', id=3, color=left, type='lower', swap='right_hip'),
        4: dict(name='left_knee', id=4, color=left, type='lower', swap='right_knee'),
        5: dict(name='left_ankle', id=5, color=left, type='lower', swap='right_ankle'),
        6: dict(name='right_wrist', id=6, color=right, type='upper', swap='left_wrist'),
        7: dict(name='right_elbow', id=7, color=right, type='upper', swap='left_elbow'),
        8: dict(name='right_shoulder', id=8, color=right, type='upper', swap='left_shoulder'),
        9: dict(name='left_shoulder', id=9, color=left, type='upper', swap='right_shoulder'),
        10: dict(name='left_elbow', id=10, color=left, type='upper', swap='right_elbow'),
        11: dict(name='left_wrist', id=11, color=left, type='upper', swap='right_wrist'),
        12: dict(name='neck', id=12, color=middle, type='upper', swap=''),
        13: dict(name='head_top', id=13, color=middle, type='upper', swap=''),
    },
    skeleton_info={
        0: dict(link=('right_ankle', 'right_knee'), id=0, color=right),
        1: dict(link=('right_knee', 'right_hip'), id=1, color=right),
        2: dict(link=('left_hip', 'left_knee'), id=2, color=left),
        3: dict(link=('left_knee', 'left_ankle'), id=3, color=left),
        4: dict(link=('right_hip', 'left_hip'), id=4, color=middle),
        5: dict(link=('right_wrist', 'right_elbow'), id=5, color=right),
        6: dict(link=('right_elbow', 'right_shoulder'), id=6, color=right),
        7: dict(link=('left_shoulder', 'left_elbow'), id=7, color=left),
        8: dict(link=('left_elbow', 'left_wrist'), id=8, color=left),
        9: dict(link=('right_shoulder', 'neck'), id=9, color=middle),
        10: dict(link=('left_shoulder', 'neck'), id=10, color=middle),
        11: dict(link=('neck', 'head_top'), id=11, color=middle),
    },
    joint_weights=[1.0] * 14,
    # COCO's for the twelve joints that COCO has. It has no neck and no head top: they get the shoulder's, as in
    # MMPose's CrowdPose, whose 14 joints are the same ones.
    sigmas=[0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079],
)

# SimCC targets; the standard deviation is the square root of an eighth of the side, as in every RTMPose.
codec = dict(
    type='SimCCLabel',
    input_size=(160, 192),
    sigma=(4.47, 4.9),
    simcc_split_ratio=2.0,
    normalize=False,
    use_dark=False,
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', scale_factor=[0.75, 1.25], rotate_factor=60),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode='topdown',
        metainfo=metainfo,
        ann_file='coco/train.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    sampler=dict(round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode='topdown',
        metainfo=metainfo,
        ann_file='coco/val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='PCKAccuracy', thr=0.2, norm_item='bbox'),
    dict(type='CocoMetric', ann_file=data_root + 'coco/val.json'),
]
test_evaluator = val_evaluator
