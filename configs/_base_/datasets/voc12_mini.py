# PASCAL VOC 2012: 1443 photographs of its segmentation part, scaled to 320 pixels, with boxes of 20 classes; trained on
# `train` (1043 images), tested on `val` (400). Objects marked as difficult are crowds. docs/data.md has the source and
# the layout. The environment variable VOC12_MINI_ROOT names another folder.
_base_ = './coco_320.py'
data_root = '{{$VOC12_MINI_ROOT:data/voc12_mini}}/'
# Classes and colours of the challenge.
metainfo = dict(
    classes=(
        'aeroplane',
        'bicycle',
        'bird',
        'boat',
        'bottle',
        'bus',
        'car',
        'cat',
        'chair',
        'cow',
        'diningtable',
        'dog',
        'horse',
        'motorbike',
        'person',
        'pottedplant',
        'sheep',
        'sofa',
        'train',
        'tvmonitor',
    ),
    palette=[
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
        (0, 128, 128),
        (128, 128, 128),
        (64, 0, 0),
        (192, 0, 0),
        (64, 128, 0),
        (192, 128, 0),
        (64, 0, 128),
        (192, 0, 128),
        (64, 128, 128),
        (192, 128, 128),
        (0, 64, 0),
        (128, 64, 0),
        (0, 192, 0),
        (128, 192, 0),
        (0, 64, 128),
    ],
)
train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'coco/val.json')
test_evaluator = val_evaluator
