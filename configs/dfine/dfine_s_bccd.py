# The native D-FINE-S from random weights on BCCD at 320x240: the teacher of dfine_native/dfine-s_dfine-n_bccd.py.
_base_ = [
    '../_base_/models/dfine_s.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/detr_12e.py',
    '../_base_/runtime_det.py',
]
model = dict(bbox_head=dict(num_classes=3))
train_dataloader = dict(batch_size=4)
