# Data Science Bowl 2018, stage 1: nuclei in 538 light- and fluorescence-microscopy images of up to 360 pixels, with
# boxes from masks; trained on `train` (403 images), tested on `val` (135). docs/data.md has the source and the layout.
# The environment variable DSB2018_ROOT names another folder.
_base_ = './coco_320.py'
data_root = '{{$DSB2018_ROOT:data/dsb2018}}/'
metainfo = dict(classes=('nucleus',), palette=[(60, 179, 113)])
flip = dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical'])
train_pipeline = [*_base_.train_pipeline[:3], flip, *_base_.train_pipeline[4:]]
train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'coco/val.json')
test_evaluator = val_evaluator
