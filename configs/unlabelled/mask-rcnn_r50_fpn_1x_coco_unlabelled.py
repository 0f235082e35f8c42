# Mask R-CNN on COCO and unlabelled images: the teacher's confident boxes and masks are labels for the student's loss.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', '../_base_/distill/unlabelled_coco.py']
custom_hooks = [_base_.average]
default_hooks = dict(
    distill=dict(
        unlabelled=dict(
            dataloader=_base_.dataloader,
            weight=dict(_base_.ramp, value=2.0),
            pseudo=dict(type='kd_plugins.PseudoLabels', score_thr=0.7),
        ),
        distillers=dict(),
        **_base_.distill,
    )
)
