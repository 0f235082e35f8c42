# Mask R-CNN-R50 on COCO, taught by feature maps made of the labels and of its own pyramid (LGD). An object is painted
# into its mask instead of its box, and the mask is a part of what is encoded.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py', '../_base_/distill/label_guided.py']
default_hooks = dict(
    distill=dict(distillers=dict(guide=dict(masks=True, detach_appearance=True, **_base_.guide)), **_base_.distill)
)
