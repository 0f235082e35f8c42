# PKD on BCCD: the channels in the pyramid of the small Faster R-CNN learn to correlate with those of one on a
# pretrained EfficientNet-Lite0. The weight is that of the release, 6 for each of four levels, and was not tuned.
_base_ = [
    '../roi/faster-rcnn_r18w16_bccd.py',
    '../_base_/distill/frozen_faster-rcnn-lite0_bccd.py',
    '../_base_/distill/feature_kinds.py',
]
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(_base_.teacher, mode='extract_feat'),
        distillers=dict(
            features=dict(weight=dict(type='kd_plugins.LinearWarmup', value=24.0, end=100), **_base_.pearson)
        ),
    )
)
