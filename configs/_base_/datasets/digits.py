# Handwritten digits composed into images, COCO boxes of 10 classes; never flipped. `kd_plugins data digits` makes them.
# The environment variable DIGITS_ROOT names another folder.
_base_ = './loaders.py'
dataset_type = 'CocoDataset'
data_root = '{{$DIGITS_ROOT:data/digits}}/'
# One colour per digit, evenly around the colour circle.
metainfo = dict(
    classes=('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'),
    palette=[
        (214, 39, 40),
        (255, 127, 14),
        (188, 189, 34),
        (44, 160, 44),
        (23, 190, 207),
        (31, 119, 180),
        (78, 60, 200),
        (148, 103, 189),
        (227, 65, 180),
        (140, 86, 75),
    ],
)
scale = (160, 160)

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=8,
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox', format_only=False)
test_evaluator = val_evaluator
