# A small baseline of the DETR family: DINO-R18 from scratch on BCCD at 320x240, 12 epochs.
_base_ = [
    '../_base_/models/dino_r18.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/detr_12e.py',
    '../_base_/runtime_det.py',
]
model = dict(bbox_head=dict(num_classes=3))
train_dataloader = dict(batch_size=2)
