# The small baseline: GFL-R18 from scratch on BCCD at 320x240.
_base_ = [
    '../_base_/models/gfl_r18.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/det_scratch.py',
    '../_base_/runtime_det.py',
]
model = dict(bbox_head=dict(num_classes=3))
