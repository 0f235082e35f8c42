# Panoptic FPN on COCO with dual self-distillation of its semantic half: stages C2 to C5 are the encoder, pyramid levels
# P5 to P2 the decoder. The labels are the 133 categories of things and stuff, as LoadPanopticAnnotations gives them.
_base_ = ['mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', '../_base_/distill/dsd.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(
                encoder='backbone.layer*',
                decoder='neck.fpn_convs.*',
                num_classes=133,
                dice_weight=0.0,
                weight=0.2,
                **_base_.dsd,
            ),
        ),
    )
)
