"""Losses with and without a teacher for a small pose estimator, on photographs (written before the first run)."""

question = """
DWPose's first stage gains 2.9 points of PCK for a half-width ResNet-18 with heatmaps, at equal steps and 1.76 times
the time. Which of its two terms does it, do other distances of features gain more, and does LGD gain without a teacher?
"""


def lasting(epochs):
    """Return the settings of a training of some epochs."""
    return {'train_cfg.max_epochs': str(epochs), 'train_cfg.val_interval': str(epochs)}


def features(kind, weight, **others):
    """Return the settings of a distance of features in place of both terms of DWPose."""
    key = 'default_hooks.distill.distillers'
    return {
        f'{key}.heatmap': 'None',
        f'{key}.feature': 'None',
        f'{key}.maps.type': 'kd_plugins.FeatureDistiller',
        f'{key}.maps.student_tap': 'backbone',
        f'{key}.maps.kind': kind,
        f'{key}.maps.weight.type': 'kd_plugins.LinearWarmup',
        f'{key}.maps.weight.value': weight,
        f'{key}.maps.weight.end': '125',
        **{f'{key}.maps.{name}': value for name, value in others.items()},
    }


plain, stage1 = 'configs/dwpose/simplebaseline-r18w32_lspet.py', 'configs/dwpose/dwpose_r18-r18w32_lspet_stage1.py'
short = lasting(15)
taught = {**short, 'default_hooks.distill.teacher.checkpoint': '{teacher}'}
teachers = dict(
    teacher=dict(config='configs/dwpose/simplebaseline-r18_lspet.py', options=short, note='the full width, 15 epochs')
)
# The weights of PKD and CWD are those that `kd_plugins suggest` prints; none was tuned on these data. At the start
# their gradients are 12 and 3 times that of the task, by `kd_plugins preflight`.
arms = dict(
    plain=dict(config=plain, options=short, note='ResNet-18 at half its width, heatmaps, 15 epochs'),
    longer=dict(config=plain, options=lasting(26), note='the same for 26 epochs, which cost as much as 15 of stage 1'),
    stage1=dict(config=stage1, options=taught, note='both terms of DWPose'),
    heatmap=dict(
        config=stage1,
        options={**taught, 'default_hooks.distill.distillers.feature': 'None'},
        note='the heatmaps alone',
    ),
    feature=dict(
        config=stage1,
        options={**taught, 'default_hooks.distill.distillers.heatmap': 'None'},
        note='the squared difference of the last map alone',
    ),
    pkd=dict(
        config=stage1,
        options={**taught, **features('pearson', '0.6')},
        note='correlation of the channels of the last map',
    ),
    cwd=dict(
        config=stage1,
        options={**taught, **features('channel_wise', '0.1', normalize='batch')},
        note='normalised channels of the last map, divergence over positions',
    ),
    guided=dict(
        config='configs/label_guided/simplebaseline-r18w32_lspet_lgd.py',
        options=short,
        note='no teacher: maps that know the joints (LGD)',
    ),
)
del lasting, features, plain, stage1, short, taught
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('PCK', 'coco/AP', 'coco/AP .5', 'coco/AP .75')
contrasts = (
    *((arm, 'plain') for arm in ('stage1', 'heatmap', 'feature', 'pkd', 'cwd', 'guided', 'longer')),
    *((arm, 'longer') for arm in ('stage1', 'heatmap', 'feature', 'pkd', 'cwd')),
    ('stage1', 'heatmap'),
)
# The 500 photographs for validation; one measurement, after the last epoch.
test_last = False
refuted_if = """
A loss is refuted where the 95 % interval of its difference to plain in PCK holds 0. A gain is bought with time where
the interval of its difference to the longer plain training does.
"""
stop_if = 'An arm whose mean difference to plain is below 0 after two seeds gets no third one.'
stop_after = 2
