# Objects365 v2 at 640x640 with D-FINE's augmentation; folders and files are those of MMDetection's configs. The
# environment variable OBJECTS365_ROOT names another folder.
_base_ = './coco_640.py'
data_root = '{{$OBJECTS365_ROOT:data/Objects365/Obj365_v2}}/'
train_dataloader = dict(
    dataset=dict(
        type='Objects365V2Dataset',
        data_root=data_root,
        ann_file='annotations/zhiyuan_objv2_train.json',
        data_prefix=dict(img='train/'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='Objects365V2Dataset',
        data_root=data_root,
        ann_file='annotations/zhiyuan_objv2_val.json',
        data_prefix=dict(img='val/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/zhiyuan_objv2_val.json')
test_evaluator = val_evaluator
