# PKD for GFL on COCO: a GFL with ResNet-101 teaches how the channels of the pyramid vary. The weight is 6 for each of
# the five levels.
_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    '../_base_/distill/frozen_gfl-r101_coco.py',
    '../_base_/distill/feature_kinds.py',
]
default_hooks = dict(
    distill=dict(
        distillers=dict(features=dict(weight=30.0, **_base_.pearson)),
        **_base_.distill,
    )
)
