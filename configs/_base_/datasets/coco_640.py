# COCO at 640x640 with D-FINE's augmentation. `second_stage_pipeline` lacks the strong steps: photometric distortion,
# zoom-out (MMDetection's Expand, which is torchvision's) and IoU crop. Images without boxes stay in the training.
# Folders and files are those of MMDetection's configs. The environment variable COCO_ROOT names another folder.
_base_ = './loaders.py'
data_root = '{{$COCO_ROOT:data/coco}}/'
scale = (640, 640)
resize = dict(type='Resize', scale=scale, keep_ratio=False, backend='pillow')  # antialiased, as the release resizes

second_stage_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='kd_plugins.DropSmallBoxes'),
    dict(type='RandomFlip', prob=0.5),
    resize,
    dict(type='kd_plugins.DropSmallBoxes'),
    dict(type='PackDetInputs'),
]
train_pipeline = [
    *second_stage_pipeline[:2],
    dict(type='kd_plugins.RandomPhotometricDistort'),
    dict(type='Expand', mean=[0, 0, 0], to_rgb=False, ratio_range=(1, 4), prob=0.5),
    dict(type='kd_plugins.RandomIoUCrop', prob=0.8),
    *second_stage_pipeline[2:],
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    drop_last=True,
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=None,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', ann_file=data_root + 'annotations/instances_val2017.json', metric='bbox', format_only=False
)
test_evaluator = val_evaluator
