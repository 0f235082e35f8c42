# Faster R-CNN with ResNet-50 on COCO with softened targets, without another network.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/distill/softened_proposals.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(distill=_base_.softened)
