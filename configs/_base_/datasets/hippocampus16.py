# Few hippocampus volumes, on which a wide network overfits: fold f trains on 16 of the 160 volumes that are not for
# testing, chosen by a fixed seed and disjoint from those of other folds; all folds have the 40 test volumes of
# `hippocampus.py`. The fold is 0 to 4, from the environment variable HIPPOCAMPUS_FOLD.
# Intensities and augmentation are those of the released dual self-distillation (soumbane/DualSelfDistillation), with
# two patches of a volume instead of eight.
_base_ = './hippocampus.py'
fold = int('{{$HIPPOCAMPUS_FOLD:0}}')
folds = dict(fold_0=16, fold_1=16, fold_2=16, fold_3=16, fold_4=16, rest=80, test=40, seed=0)

train_pipeline = [
    dict(type='kd_plugins.LoadVolume'),
    dict(
        type='kd_plugins.MonaiTransforms',
        transforms=[
            dict(type='Orientationd', keys=_base_.both, axcodes='RAS', labels=None),
            dict(type='ScaleIntensityd', keys='image', minv=0.0, maxv=1.0),
            dict(type='SpatialPadd', keys=_base_.both, spatial_size=_base_.patch_size, mode='edge'),
        ],
    ),
    dict(
        type='kd_plugins.MonaiTransforms',
        transforms=[
            _base_.train_pipeline[2]['transforms'][0],  # two patches, most of them around a voxel of a part
            dict(type='RandFlipd', keys=_base_.both, prob=0.5, spatial_axis=0),
            dict(type='RandFlipd', keys=_base_.both, prob=0.5, spatial_axis=1),
            dict(type='RandFlipd', keys=_base_.both, prob=0.5, spatial_axis=2),
            dict(type='RandRotate90d', keys=_base_.both, prob=0.1, max_k=3),
            dict(type='RandShiftIntensityd', keys='image', offsets=0.1, prob=1.0),
        ],
    ),
    dict(type='kd_plugins.PackVolume'),
]
test_pipeline = [
    dict(type='kd_plugins.LoadVolume'),
    dict(
        type='kd_plugins.MonaiTransforms',
        transforms=[
            dict(type='Orientationd', keys='image', axcodes='RAS', labels=None),
            dict(type='ScaleIntensityd', keys='image', minv=0.0, maxv=1.0),
        ],
    ),
    dict(type='kd_plugins.PackVolume'),
]
volumes16 = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    data_prefix=_base_.data_prefix,
    metainfo=_base_.metainfo,
    split=folds,
    cache=True,
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=10,  # 160 steps in an epoch
        dataset=dict(part=f'fold_{fold}', pipeline=train_pipeline, **volumes16),
    )
)
parts = ['test', f'fold_{fold}']
measured = [dict(part=part, test_mode=True, pipeline=test_pipeline, **volumes16) for part in parts]
# The validation measures the test volumes and, for the overfitting, those of the training. Nothing may be chosen by it.
val_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=measured))
val_evaluator = [
    dict(type='kd_plugins.VolumetricMetric', part='test'),
    dict(type='kd_plugins.VolumetricMetric', part=f'fold_{fold}', prefix='training'),
]
test_dataloader = dict(dataset=dict(_delete_=True, **measured[0]))
test_evaluator = val_evaluator[0]
