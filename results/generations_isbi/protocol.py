"""Generations of one network, each taught by the one before, on membranes (written before the first run)."""

question = """
A UNet learns from the labels, the next one from the labels and from the first, and so on, four generations long ("Even
your Teacher Needs Guidance", arXiv 2102.13088). Does a generation gain over the one before, and how fast does it lose
where the later ones see no labels? A seed is a fold: six neighbouring test slices of its own.
"""
entry = 'default_hooks.distill'
generation = {
    'train_dataloader.dataset.dataset.fold': '{seed}',
    'val_dataloader.dataset.fold': '{seed}',
    'test_dataloader.dataset.fold': '{seed}',
    'train_cfg.val_interval': '20',
    f'{entry}.teacher.config': 'kd_plugins::logit/unet-w8_isbi.py',
    f'{entry}.distillers.logits.temperature': '1.0',
}
# The labels count 0.35, one of the two values in the release's README, and the generation before the rest.
guided = {**generation, f'{entry}.task_weight': '0.35', f'{entry}.distillers.logits.weight': '0.65'}
alone = {**generation, f'{entry}.task_weight': '0.0', f'{entry}.distillers.logits.weight': '1.0'}
taught = 'configs/logit/kd_unet_unet-w8_isbi.py'
checkpoint = f'{entry}.teacher.checkpoint'
arms = dict(
    plain=dict(
        config='configs/logit/unet-w8_isbi.py',
        options={key: value for key, value in generation.items() if not key.startswith(entry)},
        note='the first generation: UNet of 8 to 128 channels, 20 epochs',
    ),
    second=dict(config=taught, options={**guided, checkpoint: '{plain}'}, note='taught by the first, and by labels'),
    third=dict(config=taught, options={**guided, checkpoint: '{second}'}, note='taught by the second, and by labels'),
    fourth=dict(config=taught, options={**guided, checkpoint: '{third}'}, note='taught by the third, and by labels'),
    second_alone=dict(config=taught, options={**alone, checkpoint: '{plain}'}, note='taught by the first alone'),
    third_alone=dict(config=taught, options={**alone, checkpoint: '{second_alone}'}, note='by the second alone'),
    fourth_alone=dict(config=taught, options={**alone, checkpoint: '{third_alone}'}, note='by the third alone'),
)
del alone, checkpoint, entry, generation, guided, taught
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('mIoU', 'mDice', 'calibration/error')
contrasts = (
    *((arm, 'plain') for arm in ('second', 'third', 'fourth', 'second_alone', 'third_alone', 'fourth_alone')),
    ('fourth', 'fourth_alone'),
)
# One measurement, after the last epoch, and nothing is chosen by it.
calibration = True
refuted_if = """
The 95 % interval of second minus plain in mIoU holds 0: then a generation gains nothing. The labels are refuted as
guidance where that of fourth minus fourth_alone holds 0.
"""
