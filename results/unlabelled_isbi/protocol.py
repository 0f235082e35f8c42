"""Unlabelled slices with five labelled ones, on membranes (written before the first run)."""

# Begun and stopped on 2026-11-27 with the UNet of the full width and one learning rate for all weights: after 600 steps
# it called every pixel cell in fold 0, with and without the unlabelled slices, so that there was nothing to compare.
# The half-width UNet did the same. Its recipe was then chosen in fold 0, seed 0, plain arm, by the IoU of membranes on
# the 19 training slices whose labels it does not use: rate .003 63.9 (no membrane before step 300), .006 58.2, .001
# with ten times that for the head 62.9 (membranes before step 300), .002 with five times 62.5. The third one is used:
# the teacher needs a network that finds membranes early. Before this run, too, the first step with unlabelled slices
# moved from 150 to 300.
question = """
With 5 labelled and 19 unlabelled slices, does the average of the student's weights teach it more than the strong view
and a teacher on the labelled slices do? A seed is a fold: six neighbouring test slices of its own.
"""
data = {
    'train_dataloader.dataset.dataset.fold': '{seed}',
    'val_dataloader.dataset.fold': '{seed}',
    'test_dataloader.dataset.fold': '{seed}',
}
dataset = 'default_hooks.distill.unlabelled.dataloader.dataset'
unlabelled = {**data, f'{dataset}.fold': '{seed}'}
labelled = {**unlabelled, f'{dataset}.indices': '[2,7,12,17,22]'}
arms = dict(
    plain=dict(
        config='configs/unlabelled/unet_isbi_five_view.py',
        options=data,
        note='UNet of 8 to 128 channels, 600 steps, half of the labelled slices in the strong view',
    ),
    unlabelled=dict(
        config='configs/unlabelled/unet_isbi_five_unlabelled.py',
        options=unlabelled,
        note='and from step 300 on two unlabelled slices a step; the student sees them in a view with CutMix',
    ),
    two_views=dict(
        config='configs/unlabelled/unet_isbi_five_unlabelled.py',
        options=labelled,
        note='the same with the 5 labelled slices in place of the unlabelled ones',
    ),
    same_view=dict(
        config='configs/unlabelled/unet_isbi_five_unlabelled.py',
        options={**labelled, 'default_hooks.distill.student_view.unlabelled': 'None'},
        note='the same, and the student sees what the teacher sees',
    ),
)
del data, dataset, labelled, unlabelled
seeds = (0, 1, 2, 3, 4)
metrics = ('IoU_membrane', 'mIoU', 'mDice')
contrasts = (('unlabelled', 'plain'), ('unlabelled', 'two_views'), ('unlabelled', 'same_view'))
# The validation data are the test data; one measurement, after the last epoch.
test_last = False
refuted_if = """
The 95 % interval of unlabelled minus plain in IoU of membranes, over five folds, holds 0, or unlabelled is no better
than both controls on labelled slices.
"""
stop_if = 'After three folds the mean of unlabelled minus plain is below 0.'
stopped = 'after three folds, by its rule; the arm `same_view` was not run.'
