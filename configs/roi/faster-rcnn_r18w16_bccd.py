# The small baseline: Faster R-CNN on BCCD at 320x240 with a ResNet-18 of a quarter of its width, from scratch. Images
# are normalised as the teacher of its children wants them.
_base_ = [
    '../_base_/models/faster_rcnn_r18.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/det_scratch.py',
    '../_base_/runtime_det.py',
]
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]),
    roi_head=dict(bbox_head=dict(num_classes=3)),
)
