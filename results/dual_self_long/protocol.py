"""Dual self-distillation on few volumes, trained twice as long (written before the first run)."""

question = """
In dual_self_overfit DSD gained over a plain UNETR that was still improving. Does the gain stay when all arms train
twice as long, or does DSD only learn faster?
"""
fold = {
    'train_dataloader.dataset.dataset.part': 'fold_{seed}',
    'val_dataloader.dataset.datasets.1.part': 'fold_{seed}',
    'val_evaluator.1.part': 'fold_{seed}',
    'train_cfg.max_epochs': '40',
    'train_cfg.val_interval': '20',
    'param_scheduler.1.end': '40',
    'param_scheduler.1.T_max': '40',
}
arms = dict(
    plain=dict(config='configs/dual_self/unetr_hippocampus16.py', options=fold, note='the network alone, 6400 steps'),
    released=dict(
        config='configs/dual_self/unetr_hippocampus16_dsd-released.py',
        options=fold,
        note='as released: weights 1, gradients through the teaching levels, heads of their own, tokens as a level',
    ),
    deep_supervision=dict(
        config='configs/dual_self/unetr_hippocampus16_deep-supervision.py',
        options=fold,
        note="the decoder's heads learn from the labels, no divergence",
    ),
)
del fold
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('volume/dice', 'volume/dice_anterior', 'volume/dice_posterior', 'volume/hd95', 'training/dice')
contrasts = (('released', 'plain'), ('released', 'deep_supervision'))
test_last = False
refuted_if = """
The 95 % interval of released minus plain in Dice of the test volumes holds 0 after the last epoch. It only learns
faster, if plain at 6400 steps reaches what released had at 3200.
"""
stop_if = 'After three folds the mean of released minus plain is below 0.'
