# PKD for RetinaNet on COCO: ResNeXt-101 teaches ResNet-50. The release weights each level by 10 and leaves the coarsest
# of the five out; here the weight is 10 for each of them.
_base_ = ['mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', '../_base_/distill/frozen_retinanet-x101_coco.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.*',
                kind='pearson',
                weight=50.0,
            )
        ),
        **_base_.distill,
    )
)
