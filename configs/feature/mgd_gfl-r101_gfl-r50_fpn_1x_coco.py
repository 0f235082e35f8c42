# MGD for GFL on COCO: from its masked pyramid, the student generates that of a GFL with ResNet-101. The weight is that
# of the release for one-stage detectors, 2e-5 for each of the five levels.
_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    '../_base_/distill/frozen_gfl-r101_coco.py',
    '../_base_/distill/feature_kinds.py',
]
default_hooks = dict(
    distill=dict(
        distillers=dict(features=dict(weight=1e-4, **_base_.generation)),
        **_base_.distill,
    )
)
