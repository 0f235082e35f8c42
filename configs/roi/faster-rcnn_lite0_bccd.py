# A teacher for the small baseline: Faster R-CNN on a pretrained EfficientNet-Lite0, fine-tuned on BCCD at 320x240.
_base_ = [
    '../_base_/models/faster_rcnn_lite0.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/det_finetune.py',
    '../_base_/runtime_det.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
