# 200 magnetic-resonance crops of the hippocampus at 1 mm (Medical Segmentation Decathlon, task 4): background, anterior
# and posterior part. Split by a fixed seed into 140 for training, 20 for validation and 40 for testing.
# `kd_plugins data hippocampus` fetches them. The environment variable HIPPOCAMPUS_ROOT names another folder.
_base_ = './loaders.py'
dataset_type = 'kd_plugins.NiftiDataset'
data_root = '{{$HIPPOCAMPUS_ROOT:data/hippocampus}}/'
metainfo = dict(classes=('background', 'anterior', 'posterior'))
split = dict(train=140, val=20, test=40, seed=0)
data_prefix = dict(img='images/', seg='labels/')
patch_size = (32, 32, 32)
both = ['image', 'label']

train_pipeline = [
    dict(type='kd_plugins.LoadVolume'),
    # Not random: kept in memory.
    dict(
        type='kd_plugins.MonaiTransforms',
        transforms=[
            dict(type='Orientationd', keys=both, axcodes='RAS', labels=None),
            # Files range from 112 to 1.7 million: each volume on its own.
            dict(type='NormalizeIntensityd', keys='image', channel_wise=True),
            dict(type='SpatialPadd', keys=both, spatial_size=patch_size),
        ],
    ),
    dict(
        type='kd_plugins.MonaiTransforms',
        transforms=[
            dict(
                type='RandCropByPosNegLabeld',
                keys=both,
                label_key='label',
                spatial_size=patch_size,
                pos=1,
                neg=0.1,
                num_samples=2,
            ),
            # Left and right alone: the two parts lie one behind the other.
            dict(type='RandFlipd', keys=both, prob=0.5, spatial_axis=0),
            dict(type='RandScaleIntensityd', keys='image', factors=0.1, prob=0.5),
            dict(type='RandShiftIntensityd', keys='image', offsets=0.1, prob=0.5),
            dict(type='RandGaussianNoised', keys='image', prob=0.2, std=0.1),
        ],
    ),
    dict(type='kd_plugins.PackVolume'),
]
# The labels stay as they are on disk; the metric brings the prediction back to their grid.
test_pipeline = [
    dict(type='kd_plugins.LoadVolume'),
    dict(
        type='kd_plugins.MonaiTransforms',
        transforms=[
            dict(type='Orientationd', keys='image', axcodes='RAS', labels=None),
            dict(type='NormalizeIntensityd', keys='image', channel_wise=True),
        ],
    ),
    dict(type='kd_plugins.PackVolume'),
]
volumes = dict(type=dataset_type, data_root=data_root, data_prefix=data_prefix, metainfo=metainfo, split=split)
# Volumes that are read again in every epoch or validation are kept in memory: `cache`.
train_dataloader = dict(
    batch_size=1,  # two patches of one volume: four times the steps of four volumes, in the same time
    num_workers=0,
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(part='train', cache=True, pipeline=train_pipeline, **volumes),
)
val_dataloader = dict(
    train_dataloader, dataset=dict(part='val', cache=True, test_mode=True, pipeline=test_pipeline, **volumes)
)
test_dataloader = dict(train_dataloader, dataset=dict(part='test', test_mode=True, pipeline=test_pipeline, **volumes))
val_evaluator = dict(type='kd_plugins.VolumetricMetric')
test_evaluator = val_evaluator
