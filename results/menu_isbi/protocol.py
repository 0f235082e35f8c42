"""Losses with and without a teacher for a small segmenter, on membranes (written before the first run)."""

question = """
A UNet with half the channels of its teacher learns on 24 slices. Which of the losses with a teacher (KL divergence,
DIST, CIRKD, CWD, MGD), and which of those without one (softened targets, LGD), gains over plain training, and which of
them makes its probabilities more honest? A seed is a fold: six neighbouring test slices of its own.
"""
# Begun and stopped on 2026-11-27: with one learning rate for all weights, the plain student called every pixel cell
# after 720 steps of fold 0. The rate of the head is ten times that of the backbone since then, in every arm but the
# teacher, as chosen for `unlabelled_isbi` on training slices.
data = {
    'train_dataloader.dataset.dataset.fold': '{seed}',
    'val_dataloader.dataset.fold': '{seed}',
    'test_dataloader.dataset.fold': '{seed}',
    'train_cfg.val_interval': '20',
}
taught = {**data, 'default_hooks.distill.teacher.checkpoint': '{teacher}'}
arms = dict(
    plain=dict(config='configs/logit/unet-w8_isbi.py', options=data, note='UNet of 8 to 128 channels, 20 epochs'),
    teacher=dict(config='configs/dual_self/unet_isbi.py', options=data, note='16 to 256 channels, of the same fold'),
    kd=dict(config='configs/logit/kd_unet_unet-w8_isbi.py', options=taught, note='KL divergence of the class scores'),
    dist=dict(config='configs/logit/dist_unet_unet-w8_isbi.py', options=taught, note='correlations over positions'),
    cirkd=dict(config='configs/relation/cirkd_unet_unet-w8_isbi.py', options=taught, note='affinities of positions'),
    cwd=dict(config='configs/feature/cwd_unet_unet-w8_isbi.py', options=taught, note='where a class score is high'),
    mgd=dict(
        config='configs/feature/mgd_unet_unet-w8_isbi.py', options=taught, note='masked generation of the last map'
    ),
    softened=dict(
        config='configs/logit/pskd_unet-w8_isbi.py',
        options=data,
        note='no teacher: labels mixed with what the network of the last epoch predicts (PS-KD)',
    ),
    guided=dict(
        config='configs/label_guided/unet_isbi_lgd.py',
        options={
            **data,
            'model.backbone.base_channels': '8',
            'model.decode_head.in_channels': '8',
            'model.decode_head.channels': '8',
            'optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult': '10',
        },
        note='no teacher: maps that know the labels (LGD)',
    ),
    # Added on 2026-11-28, after the first folds of the arms above and before their own first run.
    auxiliary=dict(
        config='configs/logit/unet-w8_isbi_auxiliary.py', options=data, note='plain, with an auxiliary head'
    ),
    uskd=dict(
        config='configs/logit/uskd_unet-w8_isbi.py',
        options=data,
        note='no teacher: the same, with soft labels by its own confidence (USKD)',
    ),
)
del data, taught
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('mIoU', 'mDice', 'calibration/error')
contrasts = (
    *((arm, 'plain') for arm in ('kd', 'dist', 'cirkd', 'cwd', 'mgd', 'softened', 'guided', 'teacher')),
    ('uskd', 'auxiliary'),
    ('auxiliary', 'plain'),
)
# One measurement, after the last epoch, and nothing is chosen by it.
calibration = True
refuted_if = """
A loss is refuted where the 95 % interval of its difference to plain in mIoU holds 0, and USKD where that of its
difference to the network with an auxiliary head does. Softened targets promise honest
probabilities: that is refuted where the interval of their difference in the calibration error is not below 0.
"""
stop_if = 'An arm whose mean difference to plain is below 0 after two folds gets no third one.'
stop_after = 2
