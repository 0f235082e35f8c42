# Faster R-CNN with ResNet-50 on COCO, taught by one with ResNet-101: classes and boxes of its proposals.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/distill/frozen_faster-rcnn-r101_coco.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            roi=dict(type='kd_plugins.RoIDistiller', weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=500)),
        ),
    )
)
