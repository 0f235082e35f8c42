# PKD for RetinaNet on COCO: ResNeXt-101 teaches ResNet-50. The release weights each level by 10 and leaves the coarsest
# of the five out; here the weight is 10 for each of them.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../_base_/distill/frozen_retinanet-x101_coco.py',
    '../_base_/distill/feature_kinds.py',
]
default_hooks = dict(
    distill=dict(
        distillers=dict(features=dict(weight=50.0, **_base_.pearson)),
        **_base_.distill,
    )
)
