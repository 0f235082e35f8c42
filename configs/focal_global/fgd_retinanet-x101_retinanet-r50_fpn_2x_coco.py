# RetinaNet with ResNet-50 on COCO, taught the pyramid of MMDetection's RetinaNet with ResNeXt-101 in and outside of
# objects. Neck and head start from the teacher's, as in the release.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../_base_/distill/focal_global.py',
    '../_base_/distill/frozen_retinanet-x101_coco.py',
]
default_hooks = dict(
    distill=dict(
        _base_.distill,
        init_from_teacher=['neck', 'bbox_head'],
        distillers=dict(fgd=_base_.dense),
    )
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
