"""The demo's two runs with three seeds (written after one trial of seed 0, which chose 24 labels and 360 steps)."""

question = """
With 24 labelled and 776 unlabelled images of handwritten digits, what do the unlabelled images add in the minutes that
a demo has?
"""
arms = dict(
    plain=dict(
        config='configs/unlabelled/gfl_r18_digits_few.py',
        note='360 steps, half of the labelled images in the strong view',
    ),
    unlabelled=dict(
        config='configs/unlabelled/gfl_r18_digits_few_unlabelled.py',
        note='and from step 120 on eight unlabelled images a step; the teacher sees the image, the student a view',
    ),
    two_views=dict(
        config='configs/unlabelled/gfl_r18_digits_few_unlabelled.py',
        options={'default_hooks.distill.unlabelled.dataloader.dataset.indices': '24'},
        note='the same with the 24 labelled images in place of the unlabelled ones',
    ),
)
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75')
contrasts = (('unlabelled', 'plain'), ('unlabelled', 'two_views'))
# The validation data are the test data; the last epoch is measured.
test_last = False
refuted_if = 'The 95 % interval of unlabelled minus plain in AP holds 0.'
stop_if = 'After three seeds the mean of unlabelled minus plain is below 0.'
