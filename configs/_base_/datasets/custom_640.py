# Data of one's own in COCO format at 640x640 with D-FINE's augmentation: `train.json`, `val.json` and `images/` in
# data/custom. The environment variable CUSTOM_ROOT names another folder. The class names come from the file that
# inherits this; without them, CocoDataset looks for those of COCO.
_base_ = './coco_640.py'
data_root = '{{$CUSTOM_ROOT:data/custom}}/'
train_dataloader = dict(
    num_workers=2,
    dataset=dict(data_root=data_root, ann_file='train.json', data_prefix=dict(img='images/')),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(data_root=data_root, ann_file='val.json', data_prefix=dict(img='images/')),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator
