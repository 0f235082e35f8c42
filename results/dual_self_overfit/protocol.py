"""Dual self-distillation where a wide network overfits on few volumes (written before the first run)."""

question = """
In the regime of the paper, a wide UNETR on few volumes that overfits by 5 Dice or more, does dual self-distillation
gain over the plain network, and over deep supervision alone? A seed is a fold: 16 training volumes of its own, and the
same 40 test volumes.
"""
fold = {
    'train_dataloader.dataset.dataset.part': 'fold_{seed}',
    'val_dataloader.dataset.datasets.1.part': 'fold_{seed}',
    'val_evaluator.1.part': 'fold_{seed}',
}
arms = dict(
    plain=dict(config='configs/dual_self/unetr_hippocampus16.py', options=fold, note='the network alone'),
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
    detached=dict(
        config='configs/dual_self/unetr_hippocampus16_dsd-detached.py',
        options=fold,
        note='as released, without gradients through the teaching levels',
    ),
)
del fold
seeds = (0, 1, 2, 3, 4)
metrics = ('volume/dice', 'volume/dice_anterior', 'volume/dice_posterior', 'volume/hd95', 'training/dice')
contrasts = (('released', 'plain'), ('released', 'deep_supervision'), ('detached', 'plain'))
test_last = False
refuted_if = 'The 95 % interval of released minus plain in Dice of the test volumes, over five folds, holds 0.'
stop_if = """
The plain network of fold 0 overfits by less than 5 Dice after 1600 steps: then the length is doubled, in all arms,
before any other arm is run. (So it was: 3.8, Dice .729 on the test volumes and .766 on its own, after 10 epochs. All
arms train 20 epochs now.) After three folds the mean of released minus plain is below 0: then the two last folds are
left out.
"""
