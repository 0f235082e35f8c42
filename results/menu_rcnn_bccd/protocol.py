"""Losses for a two-stage detector, from a pretrained to a small network (written before the first run)."""

question = """
A Faster R-CNN on a pretrained EfficientNet-Lite0, fine-tuned on the 292 images, teaches one with a ResNet-18 of a
quarter of its width that starts from random weights. Do the teacher's answers at the student's proposals gain, do
features (PKD), and do both together gain more? And what do softened targets and LGD gain, which need no teacher?
"""
taught = {'default_hooks.distill.teacher.checkpoint': '{teacher}'}
rare = {'train_cfg.val_interval': '16'}
teachers = dict(
    teacher=dict(config='configs/roi/faster-rcnn_lite0_bccd.py', options=rare, note='EfficientNet-Lite0, 16 epochs')
)
features = {
    'default_hooks.distill.distillers.features.type': 'kd_plugins.FeatureDistiller',
    'default_hooks.distill.distillers.features.student_tap': 'neck.fpn_convs.*',
    'default_hooks.distill.distillers.features.kind': 'pearson',
    'default_hooks.distill.distillers.features.weight': '24.0',
}
arms = dict(
    plain=dict(config='configs/roi/faster-rcnn_r18w16_bccd.py', options=rare, note='ResNet-18 of width 16, 16 epochs'),
    roi=dict(
        config='configs/roi/roi_faster-rcnn-lite0_faster-rcnn-r18w16_bccd.py',
        options={**taught, **rare},
        note="the teacher's classes and boxes at the student's proposals",
    ),
    pkd=dict(
        config='configs/feature/pkd_faster-rcnn-lite0_faster-rcnn-r18w16_bccd.py',
        options={**taught, **rare},
        note='correlation of channels in the pyramid',
    ),
    # Its first run, 41.5 AP with seed 0, is not used: a fault, mended since, gave wrong answers of the teacher where
    # another distiller has taps on it. The contrast with `pkd` was added before the second run.
    both=dict(
        config='configs/roi/roi_faster-rcnn-lite0_faster-rcnn-r18w16_bccd.py',
        options={**taught, **rare, **features},
        note='both terms; the weight of PKD is 24 from the first step on',
    ),
    longer=dict(
        config='configs/roi/faster-rcnn_r18w16_bccd.py',
        options={
            'train_cfg.max_epochs': '28',
            'train_cfg.val_interval': '28',
            'param_scheduler.1.milestones': '[19,25]',
            'param_scheduler.1.end': '28',
        },
        note='plain for 28 epochs',
    ),
    softened=dict(
        config='configs/roi/pskd_faster-rcnn_r18w16_bccd.py',
        options=rare,
        note='no teacher: classes of proposals mixed with what the network of the last epoch predicts (PS-KD)',
    ),
    guided=dict(
        config='configs/label_guided/faster-rcnn_r18w16_bccd_lgd.py',
        options=rare,
        note='no teacher: maps that know the labels (LGD)',
    ),
)
del features, rare, taught
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = (
    'coco/bbox_mAP',
    'coco/bbox_mAP_50',
    'coco/bbox_mAP_75',
    'coco/RBC_precision',
    'coco/WBC_precision',
    'coco/Platelets_precision',
    'calibration/error',
)
contrasts = (
    *((arm, 'longer') for arm in ('roi', 'pkd', 'both')),
    *((arm, 'plain') for arm in ('roi', 'pkd', 'both', 'softened', 'guided', 'longer')),
    ('both', 'roi'),
    ('both', 'pkd'),
)
# One measurement, after the last epoch, and nothing is chosen by it.
calibration = True
refuted_if = """
A loss with a teacher is refuted where the 95 % interval of its difference in AP to plain training of 28 epochs, or of
equal steps, holds 0; the goal of the project is 1.5 AP for both terms. LGD is refuted where that of its difference to
plain of equal steps holds 0; the goal is 0.8 AP. Softened targets promise honest probabilities: that is refuted where
the interval of their difference in the calibration error is not below 0.
"""
stop_if = 'An arm whose mean difference to plain is below 0 after two seeds gets no third one.'
stop_after = 2
