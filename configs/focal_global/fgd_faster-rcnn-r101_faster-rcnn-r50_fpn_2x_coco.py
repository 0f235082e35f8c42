# Faster R-CNN with ResNet-50 on COCO, taught the pyramid of MMDetection's Faster R-CNN with ResNet-101, in and outside
# of objects. Neck, RPN and RoI head start from the teacher's, as in the release.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py',
    '../_base_/distill/focal_global.py',
    '../_base_/distill/frozen_faster-rcnn-r101_coco.py',
]
default_hooks = dict(
    distill=dict(
        _base_.distill,
        init_from_teacher=['neck', 'rpn_head', 'roi_head'],
        distillers=dict(fgd=_base_.two_stage),
    )
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
