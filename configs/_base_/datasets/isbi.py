# ISBI 2012: 30 neighbouring electron-microscopy slices of 512x512 with membrane masks; random 256x256 crops of 24 of
# them, tested on a run of 6. The run is `fold`, 0 to 4, from the environment variable ISBI_FOLD.
# The root comes from the environment variable ISBI_ROOT; the default is where the project's own data lies.
dataset_type = 'kd_plugins.ISBIMembraneDataset'
data_root = '{{$ISBI_ROOT:../shared/data/isbi_membrane/train}}/'
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
    num_workers=1,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=3,  # 72 crops in an epoch
        dataset=dict(type=dataset_type, data_root=data_root, fold=fold, part='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, fold=fold, part='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator
