# Pseudo labels on unlabelled images for detectors of boxes or masks: the teacher's confident predictions are labels of
# the student's own loss. `hook` is the whole entry of the hook, with Unbiased Teacher's threshold.
_base_ = './unlabelled_coco.py'
unlabelled = dict(
    dataloader=_base_.dataloader,
    weight=dict(_base_.ramp, value=2.0),
    pseudo=dict(type='kd_plugins.PseudoLabels', score_thr=0.7),
)
hook = dict(_base_.distill, unlabelled=unlabelled, distillers=dict())
