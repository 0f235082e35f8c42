# Fine-tuning on BCCD at 320x240: GFL on a pretrained EfficientNet-Lite0.
_base_ = [
    '../_base_/models/gfl_lite0.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/det_finetune.py',
    '../_base_/runtime_det.py',
]
model = dict(bbox_head=dict(num_classes=3))
