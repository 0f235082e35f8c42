# Faster R-CNN-R50 on COCO, taught by feature maps made of the labels and of its own pyramid (LGD). Both of its stages
# run once more on these maps, with proposals of their own, and train none of the layers before its pyramid.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py', '../_base_/distill/label_guided.py']
default_hooks = dict(
    distill=dict(distillers=dict(guide=dict(detach_appearance=True, **_base_.guide)), **_base_.distill)
)
