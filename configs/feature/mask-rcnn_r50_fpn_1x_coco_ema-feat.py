# Mask R-CNN with ResNet-50 on COCO, taught by the pyramid features of the moving average of itself.
# Proposals of student and teacher differ, so their second-stage logits are not comparable; features are.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=2e-4, mode='extract_feat'),
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.*',
                kind='channel_wise',
                weight=dict(type='kd_plugins.LinearWarmup', value=10.0, end=500),
            )
        ),
    )
)
