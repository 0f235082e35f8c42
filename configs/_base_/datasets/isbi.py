# ISBI 2012: 30 neighbouring electron-microscopy slices of 512x512 with membrane masks; random 256x256 crops of 24 of
# them, tested on a run of 6. The run is `fold`, 0 to 4, from the environment variable ISBI_FOLD.
# `kd_plugins data isbi` fetches them. The environment variable ISBI_ROOT names another folder.
_base_ = './loaders.py'
dataset_type = 'kd_plugins.ISBIMembraneDataset'
data_root = '{{$ISBI_ROOT:data/isbi}}/'
fold = int('{{$ISBI_FOLD:0}}')
crop_size = (256, 256)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        type='RepeatDataset',
        times=3,  # 72 crops in an epoch
        dataset=dict(type=dataset_type, data_root=data_root, fold=fold, part='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(type=dataset_type, data_root=data_root, fold=fold, part='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator
