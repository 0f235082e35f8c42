"""Label-guided self-distillation on blood cells (written before the first run)."""

question = """
Do feature maps that know the labels teach a small GFL that starts from random weights, and do they teach more than the
second detection loss, on these maps, does by itself?
"""
# The student and its plain runs are those of `menu_lite0_bccd`. An earlier form of this protocol, of 32 epochs at twice
# the width, was never run: its five arms take ten hours of a core.
student = {
    'model.backbone.base_channels': '16',
    'model.neck.in_channels': '[16,32,64,128]',
    'model.data_preprocessor.mean': '[127.5,127.5,127.5]',
    'model.data_preprocessor.std': '[127.5,127.5,127.5]',
    'train_cfg.val_interval': '16',
}
guide = 'default_hooks.distill.distillers.guide'
arms = dict(
    plain=dict(config='configs/gfl/gfl_r18w32_bccd.py', options=student, note='ResNet-18 of width 16, 16 epochs'),
    guided=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd.py',
        options=student,
        note='its maps learn from the instructive ones in the last three quarters',
    ),
    detection=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd_det-only.py',
        options=student,
        note="the student's head learns on the instructive maps as well, and nothing is compared",
    ),
    from_begin=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd.py',
        options={**student, f'{guide}.begin': '0.0'},
        note='as guided, from the first step on',
    ),
    levels=dict(
        config='configs/label_guided/gfl_r18w32_bccd_lgd.py',
        options={**student, f'{guide}.level_balance': 'levels'},
        note='as guided, and all levels count alike',
    ),
)
del student, guide
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
    *((arm, 'plain') for arm in ('guided', 'detection', 'from_begin', 'levels')),
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
stop_after = 2
