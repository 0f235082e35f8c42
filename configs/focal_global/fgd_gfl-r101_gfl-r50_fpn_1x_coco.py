# GFL with ResNet-50 on COCO, taught the pyramid of MMDetection's GFL with ResNet-101, in and outside of objects. Neck
# and head start from the teacher's, as in the release. Leave `init_from_teacher` out to measure the loss alone.
_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    '../_base_/distill/focal_global.py',
    '../_base_/distill/frozen_gfl-r101_coco.py',
]
default_hooks = dict(
    distill=dict(
        _base_.distill,
        init_from_teacher=['neck', 'bbox_head'],
        distillers=dict(fgd=_base_.dense),
    )
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
