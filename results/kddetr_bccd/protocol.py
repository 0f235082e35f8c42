"""KD-DETR for a small DAB-DETR, from its finished self and from its average (written before the first run)."""

question = """
DETRs from scratch learn slowly. Does a DAB-DETR that has trained three times as long teach one of the same size more
than twice the training does by itself, when both decode the same queries? And does the student's own average?
"""


def lasting(epochs):
    """Return the settings of a training of some epochs."""
    return {
        'train_cfg.max_epochs': str(epochs),
        'train_cfg.val_interval': str(epochs),
        'param_scheduler.1.end': str(epochs),
        'param_scheduler.1.milestones': f'[{epochs * 10 // 12}]',
    }


teachers = dict(
    teacher=dict(config='configs/dfine/dab-detr_r18_bccd.py', options=lasting(36), note='the same network, 36 epochs')
)
rare = {'train_cfg.val_interval': '12'}
arms = dict(
    plain=dict(config='configs/dfine/dab-detr_r18_bccd.py', options=rare, note='three decoder layers, 12 epochs'),
    longer=dict(config='configs/dfine/dab-detr_r18_bccd.py', options=lasting(24), note='the same for 24 epochs'),
    finished=dict(
        config='configs/queries/kddetr_dab-detr-r18_dab-detr-r18_bccd.py',
        options={**rare, 'default_hooks.distill.teacher.checkpoint': '{teacher}'},
        note="at the finished one's queries and at random boxes",
    ),
    average=dict(
        config='configs/queries/dab-detr_r18_bccd_ema-queries.py',
        options=rare,
        note="at the queries of the student's average, in the last eight epochs",
    ),
)
del lasting, rare
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
