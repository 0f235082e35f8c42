# Mask R-CNN on COCO and unlabelled images: the teacher's confident boxes and masks are labels for the student's loss.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '../_base_/distill/pseudo_coco.py']
custom_hooks = [_base_.average]
default_hooks = dict(distill=_base_.hook)
