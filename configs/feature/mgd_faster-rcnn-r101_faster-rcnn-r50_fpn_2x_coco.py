# MGD for Faster R-CNN on COCO: from its masked pyramid, the student generates that of ResNet-101. The weight is that of
# the release for two-stage detectors, 5e-7 for each level, here for P2 to P5.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py',
    '../_base_/distill/frozen_faster-rcnn-r101_coco.py',
    '../_base_/distill/feature_kinds.py',
]
default_hooks = dict(
    distill=dict(
        distillers=dict(features=dict(weight=2e-6, **_base_.two_stage_generation)),
        **_base_.distill,
    )
)
