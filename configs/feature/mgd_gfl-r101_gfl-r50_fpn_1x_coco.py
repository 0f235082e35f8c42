# MGD for GFL on COCO: from its masked pyramid, the student generates that of a GFL with ResNet-101. The weight is that
# of the release for one-stage detectors, 2e-5 for each of the five levels.
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distill/frozen_gfl-r101_coco.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.*',
                reduction='sum',
                adapter=dict(type='kd_plugins.MaskedGenerator', mask_ratio=0.65),
                weight=1e-4,
            )
        ),
        **_base_.distill,
    )
)
