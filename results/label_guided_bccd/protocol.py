"""Label-guided self-distillation on blood cells (written before the first run)."""

question = """
Do feature maps that know the labels teach a small GFL that starts from random weights, and do they teach more than the
second detection loss, on these maps, does by itself?
"""
longer = {
    'train_cfg.max_epochs': '32',
    'train_cfg.val_interval': '32',
    'param_scheduler.1.milestones': '[22,28]',
    'param_scheduler.1.end': '32',
}
guide = 'default_hooks.distill.distillers.guide'
arms = dict(
    plain=dict(config='configs/gfl/gfl_r18w32_bccd.py', options=longer, note='32 epochs'),
    detection=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd_det-only.py',
        options=longer,
        note="the student's head learns on the instructive maps as well, and nothing is compared",
    ),
    guided=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd.py',
        options=longer,
        note='and its maps learn from the instructive ones in the last three quarters',
    ),
    from_begin=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd.py',
        options={**longer, f'{guide}.begin': '0.0'},
        note='the same from the first step on',
    ),
    levels=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd.py',
        options={**longer, f'{guide}.level_balance': 'levels'},
        note='as guided, and all levels count alike',
    ),
)
del longer, guide
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = (
    'coco/bbox_mAP',
    'coco/bbox_mAP_50',
    'coco/bbox_mAP_75',
    'coco/RBC_precision',
    'coco/WBC_precision',
    'coco/Platelets_precision',
)
contrasts = (
    *((arm, 'plain') for arm in ('detection', 'guided', 'from_begin', 'levels')),
    ('guided', 'detection'),
    ('guided', 'from_begin'),
)
# The validation data are the test data; the last epoch is measured, and nothing is chosen by it.
test_last = False
refuted_if = """
The 95 % interval of guided minus plain in AP holds 0. The goal of the project is 0.8 AP over plain, with the interval
above 0. The distance is useless if guided is no better than detection.
"""
stop_if = 'An arm whose mean difference to plain is below 0 after two seeds gets no third one.'
