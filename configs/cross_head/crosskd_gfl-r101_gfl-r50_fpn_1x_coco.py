# GFL-R50 on COCO, whose features go through the last convolution of the head of GFL-R101 (CrossKD).
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distill/frozen_gfl-r101_coco.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(cross=dict(type='kd_plugins.CrossHeadDistiller', index=3, weight=1.0)),
    )
)
