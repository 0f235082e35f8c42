# GFL-R50 on COCO, whose backbone also learns which classes an image has: a head on each stage, of which the deepest
# teaches the others.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(stages=dict(type='kd_plugins.StageClassDistiller', stages='backbone.layer*')),
    )
)
