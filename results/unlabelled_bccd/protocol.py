"""Unlabelled images with a quarter of the labels, on blood cells (written before the first run)."""

question = """
With 73 labelled and 219 unlabelled images, does the average of the student's weights teach it more than the strong view
and a teacher on the labelled images do?
"""
labelled = {'default_hooks.distill.unlabelled.dataloader.dataset.indices': '73'}
arms = dict(
    plain=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_view.py',
        note='900 steps, half of the labelled images in the strong view',
    ),
    unlabelled=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_unlabelled.py',
        note='and from step 400 on eight unlabelled images a step; the teacher sees the image, the student a view',
    ),
    two_views=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_unlabelled.py',
        options=labelled,
        note='the same with the 73 labelled images in place of the unlabelled ones',
    ),
    same_view=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_unlabelled.py',
        options={**labelled, 'default_hooks.distill.student_view.unlabelled': 'None'},
        note='the same, and the student sees what the teacher sees',
    ),
)
del labelled
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
contrasts = (('unlabelled', 'plain'), ('unlabelled', 'two_views'), ('unlabelled', 'same_view'))
# The validation data are the test data; one measurement, after the last epoch.
test_last = False
refuted_if = """
The 95 % interval of unlabelled minus plain in AP holds 0, or unlabelled is no better than both controls on labelled
images.
"""
stop_if = 'After three seeds the mean of unlabelled minus plain is below 0.'
