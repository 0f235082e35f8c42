# The native D-FINE-N from random weights on BCCD at 320x240, as a CPU can train it.
_base_ = [
    '../_base_/models/dfine_n.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/detr_12e.py',
    '../_base_/runtime_det.py',
]
model = dict(bbox_head=dict(num_classes=3))
train_dataloader = dict(batch_size=4)
