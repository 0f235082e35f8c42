# Mask R-CNN with ResNet-50 on COCO, taught by the pyramid features of the moving average of itself.
# Proposals of student and teacher differ, while features belong to the same places; configs/roi compares proposals.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '../_base_/distill/ema_pyramid.py']
default_hooks = dict(distill=_base_.distill)
