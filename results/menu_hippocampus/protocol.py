"""Losses with a teacher for a small segmenter of three classes, on slices of volumes (written before the first run)."""

question = """
A UNet with a quarter of the channels of its teacher learns to find two parts of the hippocampus on 3598 slices, in half
of the teacher's steps. Which of the losses with a teacher (KL divergence, DIST, CIRKD, CWD, MGD) gains over plain
training of equal steps, and over plain training of equal cost?
"""


def lasting(epochs):
    """Return the settings of a training of some epochs."""
    return {
        'train_cfg.max_epochs': str(epochs),
        'train_cfg.val_interval': str(epochs),
        'param_scheduler.1.end': str(epochs),
        'param_scheduler.1.T_max': str(epochs),
    }


def instead(name, type_, weight, **others):
    """Return the settings of another loss in place of the class scores; its weight grows as theirs does."""
    key = 'default_hooks.distill.distillers'
    return {
        f'{key}.logits': 'None',
        f'{key}.{name}.type': f'kd_plugins.{type_}',
        f'{key}.{name}.weight.type': 'kd_plugins.LinearWarmup',
        f'{key}.{name}.weight.value': weight,
        f'{key}.{name}.weight.end': '50',
        **{f'{key}.{name}.{option}': value for option, value in others.items()},
    }


# Looked at before, on `val`, with one seed: with twice the channels, this student has 81.2 mIoU after 4 of 8 epochs and
# 82.8 at their end, where a rate of 0.001 for all weights gave 45. Nothing else was chosen; the weights of the losses
# are those of `menu_isbi`. A teacher of 32 to 512 channels was begun and stopped after 150 steps: it would have taken
# 20 minutes.
plain, kd = 'configs/logit/unet-w4_hippocampus-slices.py', 'configs/logit/kd_unet-w16_unet-w4_hippocampus-slices.py'
taught = {**lasting(4), 'default_hooks.distill.teacher.checkpoint': '{teacher}'}
teachers = dict(
    teacher=dict(
        config='configs/logit/unet-w16_hippocampus-slices.py',
        options=lasting(8),
        note='UNet of 16 to 256 channels, 8 epochs',
    )
)
arms = dict(
    plain=dict(config=plain, options=lasting(4), note='UNet of 4 to 64 channels, 4 epochs'),
    longer=dict(config=plain, options=lasting(8), note='the same for 8 epochs'),
    kd=dict(config=kd, options=taught, note='KL divergence of the class scores'),
    dist=dict(
        config=kd,
        options={
            **taught,
            'default_hooks.distill.distillers.logits.divergence': 'dist',
            'default_hooks.distill.distillers.logits.temperature': '1.0',
        },
        note='correlations over classes and over positions',
    ),
    cirkd=dict(
        config=kd,
        options={
            **taught,
            **instead('affinity', 'RelationDistiller', '1.0', student_tap='decode_head.convs.0', kind='affinity'),
        },
        note='affinities of positions',
    ),
    cwd=dict(
        config=kd,
        options={
            **taught,
            **instead(
                'scores',
                'FeatureDistiller',
                '3.0',
                student_tap='decode_head.conv_seg',
                kind='channel_wise',
                temperature='4.0',
            ),
        },
        note='where a class score is high',
    ),
    mgd=dict(
        config=kd,
        options={
            **taught,
            **instead('generated', 'FeatureDistiller', '1.0', student_tap='decode_head.convs.0'),
            'default_hooks.distill.distillers.generated.adapter.type': 'kd_plugins.MaskedGenerator',
            'default_hooks.distill.distillers.generated.adapter.mask_ratio': '0.75',
        },
        note='masked generation of the last map',
    ),
)
del instead, kd, lasting, plain, taught
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('mIoU', 'mDice', 'calibration/error')
contrasts = (
    *((arm, 'plain') for arm in ('kd', 'dist', 'cirkd', 'cwd', 'mgd', 'longer')),
    *((arm, 'longer') for arm in ('kd', 'dist', 'cirkd', 'cwd', 'mgd')),
)
# The 1018 slices of the 40 volumes for testing; one measurement, after the last epoch, and nothing is chosen by it.
calibration = True
refuted_if = """
A loss is refuted where the 95 % interval of its difference to plain in mIoU holds 0. A gain is bought with time where
the interval of its difference to the longer plain training does.
"""
stop_if = 'An arm whose mean difference to plain is below 0 after two seeds gets no third one.'
stop_after = 2
