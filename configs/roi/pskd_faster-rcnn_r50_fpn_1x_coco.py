# Faster R-CNN with ResNet-50 on COCO with softened targets (PS-KD, arXiv 2006.12000), without another network: the
# target of a proposal is (1 - a) label + a prediction of the network of one epoch ago, and a grows from 0 to 0.8.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.SnapshotTeacher', epochs=1),
        task_weight={'loss_cls': dict(type='kd_plugins.LinearDecay', value=1.0, end_value=0.2)},
        distillers=dict(
            targets=dict(
                type='kd_plugins.RoIDistiller',
                divergence='kl',
                reg=False,
                weight=dict(type='kd_plugins.LinearWarmup', value=0.8),
            )
        ),
    )
)
