# PKD for Faster R-CNN on COCO: ResNet-101 teaches ResNet-50. As in the release, the weight is 6 for each of the levels
# P2 to P5.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py',
    '../_base_/distill/frozen_faster-rcnn-r101_coco.py',
    '../_base_/distill/feature_kinds.py',
]
default_hooks = dict(
    distill=dict(
        distillers=dict(features=dict(weight=24.0, **_base_.pearson)),
        **_base_.distill,
    )
)
