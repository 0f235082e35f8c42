"""DWPose with SimCC heads on a pretrained backbone, both stages with their controls (written before the first run)."""

question = """
Does the first stage gain over plain training of the same cost, and does the second stage gain over its start, over a
head restarted on the labels alone, and over the first stage continued as long?
"""
# The last epoch is measured, on the 500 photographs for validation; nothing is chosen by them.
last = {'train_cfg.val_interval': '20'}
short = {'train_cfg.val_interval': '4', 'load_from': '{stage1}'}
teachers = dict(
    teacher=dict(
        config='configs/dwpose/rtmcc-lite0w_lspet.py',
        options={'train_cfg.val_interval': '40'},
        note='wider head, twice the epochs',
    )
)
arms = dict(
    plain=dict(config='configs/dwpose/rtmcc-lite0_lspet.py', options=last, note='20 epochs'),
    stage1=dict(
        config='configs/dwpose/dwpose_lite0w-lite0_lspet_stage1.py',
        options={'default_hooks.distill.teacher.checkpoint': '{teacher}', **last},
        note='20 epochs, features and logits of the teacher',
    ),
    # 22 epochs were meant as equal compute, after a measurement of 1.105. Measured again with alternating steps, alone
    # on one thread, a step of stage 1 costs 1.36 of a plain one: hence the next arm, added before its first run.
    plain_22=dict(
        config='configs/dwpose/rtmcc-lite0_lspet.py',
        options={
            'train_cfg.max_epochs': '22',
            'train_cfg.val_interval': '22',
            'param_scheduler.1.begin': '11',
            'custom_hooks.0.momentum': '0.01420',
        },
        note='22 epochs',
    ),
    plain_equal_compute=dict(
        config='configs/dwpose/rtmcc-lite0_lspet.py',
        options={
            'train_cfg.max_epochs': '27',
            'train_cfg.val_interval': '27',
            'param_scheduler.1.begin': '13',
            'custom_hooks.0.momentum': '0.01157',
        },
        note='27 epochs: the compute of stage 1',
    ),
    stage2=dict(
        config='configs/dwpose/dwpose_lite0-lite0_lspet_stage2.py',
        options=short,
        note='4 epochs after stage 1: frozen backbone, a new head learns from the old one, constant rate',
    ),
    restart=dict(
        config='configs/dwpose/dwpose_lite0-lite0_lspet_restart.py',
        options=short,
        note='the same new head on the same frozen backbone, from the labels alone',
    ),
    continued=dict(
        config='configs/dwpose/dwpose_lite0-lite0_lspet_continued.py',
        options=short,
        note='4 more epochs of the whole network after stage 1, on the labels',
    ),
)
del last, short
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('PCK', 'coco/AP', 'coco/AP .5', 'coco/AP .75')
contrasts = (
    ('stage1', 'plain_equal_compute'),
    ('stage1', 'plain_22'),
    ('stage1', 'plain'),
    ('stage2', 'stage1'),
    ('stage2', 'restart'),
    ('stage2', 'continued'),
)
test_last = False
refuted_if = """
Stage 1: the 95 % interval of stage1 minus plain_equal_compute in PCK holds 0. Stage 2: the interval of stage2 minus
restart holds 0, or stage2 is below its start or below stage 1 continued.
"""
