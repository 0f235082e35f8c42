# Axial slices of 200 hippocampus volumes, about 35x49 voxels, with masks of two parts and the background.
# Divided by volume: 3598 slices for training, 502 for validation, 1018 for testing.
# `kd_plugins data hippocampus-slices` makes them. HIPPOCAMPUS_SLICES_ROOT names another folder.
_base_ = './loaders.py'
dataset_type = 'BaseSegDataset'
data_root = '{{$HIPPOCAMPUS_SLICES_ROOT:data/hippocampus_slices}}/'
metainfo = dict(classes=('background', 'anterior', 'posterior'), palette=[[0, 0, 0], [220, 20, 60], [65, 105, 225]])

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    # Contrast and brightness alone: the images are grey, which have no hue to shift.
    dict(type='PhotoMetricDistortion', contrast_range=(0.7, 1.3), saturation_range=(1.0, 1.0), hue_delta=1),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=16,
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='train', seg_map_path='masks/train'),
        img_suffix='.png',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='val', seg_map_path='masks/val'),
        img_suffix='.png',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(val_dataloader['dataset'], data_prefix=dict(img_path='test', seg_map_path='masks/test')),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator
