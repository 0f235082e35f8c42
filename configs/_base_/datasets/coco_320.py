# Pipelines and loaders of the small data sets in COCO format at 320 pixels, with `images/`, `coco/train.json` and
# `coco/val.json`. Data root and classes come from the file that inherits this.
_base_ = './loaders.py'
scale = (320, 320)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
images = dict(type='CocoDataset', data_prefix=dict(img='images/'))
train_dataloader = dict(
    batch_size=8,
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(ann_file='coco/train.json', filter_cfg=dict(filter_empty_gt=False), pipeline=train_pipeline, **images),
)
val_dataloader = dict(
    batch_size=8, dataset=dict(ann_file='coco/val.json', test_mode=True, pipeline=test_pipeline, **images)
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric='bbox', format_only=False)
test_evaluator = val_evaluator
