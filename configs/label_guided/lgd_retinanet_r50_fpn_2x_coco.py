# RetinaNet-R50 on COCO, taught by feature maps made of the labels and of its own pyramid (LGD). With one scale, the
# release lets the backbone rest in the first 70000 of 180000 iterations.
_base_ = ['mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', '../_base_/distill/label_guided.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        freeze=dict(parts=['backbone'], until=0.389),
        distillers=dict(guide=_base_.guide),
    )
)
