# Axial slices of 200 hippocampus volumes, about 35x49 voxels, with exact boxes of two parts from the voxel labels.
# Divided by volume: 3598 slices for training, 502 for validation, 1018 for testing.
# `kd_plugins data hippocampus-slices` makes them. HIPPOCAMPUS_SLICES_ROOT names another folder.
_base_ = './loaders.py'
dataset_type = 'CocoDataset'
data_root = '{{$HIPPOCAMPUS_SLICES_ROOT:data/hippocampus_slices}}/'
metainfo = dict(classes=('anterior', 'posterior'), palette=[(220, 20, 60), (65, 105, 225)])
scale_factor = 2.25  # to about 79x110 pixels, objects of about 32x23

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale_factor=scale_factor, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    # Contrast and brightness alone: the images are grey.
    dict(type='PhotoMetricDistortion', contrast_range=(0.7, 1.3), saturation_range=(1.0, 1.0), hue_delta=0),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=scale_factor, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=4,
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        # Slices whose only objects are tiny, and so marked as crowds, have nothing to learn from.
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
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
test_dataloader = dict(
    val_dataloader,
    dataset=dict(val_dataloader['dataset'], ann_file='annotations/test.json', data_prefix=dict(img='test/')),
)
val_evaluator = dict(
    type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox', classwise=True, format_only=False
)
test_evaluator = dict(val_evaluator, ann_file=data_root + 'annotations/test.json')
