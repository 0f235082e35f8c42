# Fine-tuning on photographs of PASCAL VOC 2012 at 320 pixels: GFL on a pretrained EfficientNet-Lite0.
_base_ = [
    '../_base_/models/gfl_lite0.py',
    '../_base_/datasets/voc12_mini.py',
    '../_base_/schedules/det_finetune.py',
    '../_base_/runtime_det.py',
]
model = dict(bbox_head=dict(num_classes=20))
