"""KD-DETR for a small DINO, from its finished self and from its average (written before the first run)."""

question = """
DETRs from scratch learn slowly. Does a DINO that has trained three times as long teach one of the same size more than
the same cost of plain training does? And does the student's own average?
"""
# Until 2026-11-27 this was an experiment with a DAB-DETR, of which no arm had run. A trial, trained on `train.json` and
# measured on `val.json`, showed that DAB-DETR finds nothing in this time: on a pretrained EfficientNet-Lite0 it has
# 0.3, 0.6 and 0.6 AP after 4, 8 and 12 epochs. DINO has 52 AP after 12 epochs from random weights.


def lasting(epochs):
    """Return the settings of a training of some epochs."""
    return {
        'train_cfg.max_epochs': str(epochs),
        'train_cfg.val_interval': str(epochs),
        'param_scheduler.1.end': str(epochs),
        'param_scheduler.1.milestones': f'[{epochs * 10 // 12}]',
    }


plain = 'configs/dfine/dino_r18_bccd.py'
teachers = dict(teacher=dict(config=plain, options=lasting(24), note='the same network, 24 epochs'))
arms = dict(
    plain=dict(config=plain, options=lasting(8), note='three decoder layers, 8 epochs'),
    # A step taught by a finished one costs 2.0 plain ones.
    longer=dict(config=plain, options=lasting(16), note='the same for 16 epochs'),
    finished=dict(
        config='configs/queries/kddetr_dino-r18_dino-r18_bccd.py',
        options={**lasting(8), 'default_hooks.distill.teacher.checkpoint': '{teacher}'},
        note="at the finished one's queries and at random boxes",
    ),
    average=dict(
        config='configs/queries/dino_r18_bccd_ema-queries.py',
        options=lasting(8),
        note="at the queries of the student's average, in the last four epochs",
    ),
)
del lasting, plain
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75')
contrasts = (
    ('finished', 'longer'),
    ('finished', 'plain'),
    ('average', 'plain'),
    ('longer', 'plain'),
)
# The validation data are the test data; the last epoch is measured, and nothing is chosen by it.
test_last = False
refuted_if = """
The 95 % interval of finished minus longer, or that of average minus plain, in AP holds 0.
"""
stop_if = 'An arm whose mean difference to plain is below 0 after two seeds gets no third one.'
stop_after = 2
