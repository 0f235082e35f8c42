# MGD for RetinaNet on COCO: from its masked pyramid, the student generates that of ResNeXt-101. As in the release, the
# weight is 2e-5 for each of the five levels; the release also starts neck and head from the teacher.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../_base_/distill/frozen_retinanet-x101_coco.py',
    '../_base_/distill/feature_kinds.py',
]
default_hooks = dict(
    distill=dict(
        distillers=dict(features=dict(weight=1e-4, **_base_.generation)),
        **_base_.distill,
    )
)
