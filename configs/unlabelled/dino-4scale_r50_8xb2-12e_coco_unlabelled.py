# DINO on COCO and unlabelled images: the teacher's confident boxes are labels for the student's loss. Its scores are
# lower than those of a two-stage detector.
_base_ = ['mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', '../_base_/distill/pseudo_coco.py']
custom_hooks = [_base_.average]
labels = dict(_base_.unlabelled.pseudo, score_thr=0.4)
default_hooks = dict(distill=dict(_base_.hook, unlabelled=dict(_base_.unlabelled, pseudo=labels)))
