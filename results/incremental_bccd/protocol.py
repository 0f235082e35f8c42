"""A third class on blood cells without labels of the first two (written before the first run)."""

question = """
A small detector of red and white blood cells gets platelets as a third class, on images where nothing but platelets is
labelled. How much of the old classes' AP do anchors of the weights and an old detector as the teacher keep, and what do
they cost the new class?
"""
first = {'load_from': '{cells}'}
anchored = {**first, 'default_hooks.distill.distillers.anchor.checkpoint': '{cells}'}
taught = {**first, 'default_hooks.distill.teacher.checkpoint': '{cells}'}
teachers = dict(
    cells=dict(
        config='configs/incremental/gfl_r18w32_bccd_cells.py', note='red and white blood cells, 12 epochs, 292 images'
    )
)
# No factor was tuned on these data.
arms = dict(
    fine_tune=dict(
        config='configs/incremental/gfl_r18w32_bccd_platelets.py',
        options=first,
        note='8 epochs on the 162 images with platelets',
    ),
    l2=dict(
        config='configs/incremental/gfl_r18w32_bccd_platelets_l2.py',
        options=anchored,
        note='all weights stay near the end of the first task, by squares',
    ),
    ewc=dict(
        config='configs/incremental/gfl_r18w32_bccd_platelets_ewc.py',
        options=anchored,
        note='the same, each weight by its Fisher information in the first task',
    ),
    predkd=dict(
        config='configs/incremental/gfl_r18w32_bccd_platelets_predkd.py',
        options=taught,
        note='the old detector teaches the scores of its classes',
    ),
    featkd=dict(
        config='configs/incremental/gfl_r18w32_bccd_platelets_featkd.py',
        options=taught,
        note='the old detector teaches the pyramid',
    ),
)
del first, anchored, taught
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = (
    'coco/old_mAP',
    'coco/new_mAP',
    'coco/bbox_mAP',
    'coco/RBC_precision',
    'coco/WBC_precision',
    'coco/Platelets_precision',
)
contrasts = (
    *((arm, 'fine_tune') for arm in ('l2', 'ewc', 'predkd', 'featkd')),
    ('ewc', 'l2'),
    ('predkd', 'featkd'),
)
# The validation data are the test data; the last epoch is measured, and nothing is chosen by it. The old classes have
# labels there, which the second task never sees.
test_last = False
refuted_if = """
A way against forgetting is refuted where the 95 % interval of its difference to fine-tuning in the old classes' AP
holds 0, or where the new class loses more AP than the old classes gain.
"""
stop_if = """
An arm whose mean difference to fine-tuning in the old classes' AP is below 0 after two seeds gets no third one.
"""
stop_after = 2
