# The small Faster R-CNN on BCCD, taught by one on a pretrained EfficientNet-Lite0: classes and boxes of its proposals.
_base_ = ['./faster-rcnn_r18w16_bccd.py', '../_base_/distill/frozen_faster-rcnn-lite0_bccd.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            roi=dict(type='kd_plugins.RoIDistiller', weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=100))
        ),
    )
)
