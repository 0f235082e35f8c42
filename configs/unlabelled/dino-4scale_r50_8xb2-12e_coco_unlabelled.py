# DINO on COCO and unlabelled images: the teacher's confident boxes are labels of the student's own loss.
_base_ = ['mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', '../_base_/distill/unlabelled_coco.py']
custom_hooks = [_base_.average]
default_hooks = dict(
    distill=dict(
        unlabelled=dict(
            dataloader=_base_.dataloader,
            weight=dict(_base_.ramp, value=2.0),
            pseudo=dict(type='kd_plugins.PseudoLabels', score_thr=0.4),
        ),
        distillers=dict(),
        **_base_.distill,
    )
)
