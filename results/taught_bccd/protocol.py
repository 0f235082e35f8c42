"""A pretrained teacher, few labels and unlabelled images, on blood cells (written before the first run)."""

question = """
A pretrained network is fine-tuned on 73 labelled images. Does it make a small network, a ResNet-18 of a quarter of its
width from random weights, better on 219 images without labels than its own 73 labels do, and than the same teacher does
on these 73 images?
"""
# Changed before any arm ran: width 16 instead of 32, of which three seeds fit a day of two cores.
student = {
    'model.backbone.base_channels': '16',
    'model.neck.in_channels': '[16,32,64,128]',
    # Teacher and student see the same images, normalised as the pretrained backbone wants them.
    'model.data_preprocessor.mean': '[127.5,127.5,127.5]',
    'model.data_preprocessor.std': '[127.5,127.5,127.5]',
}
# Added after three seeds of plain and taught and one of labelled, before any run of it: a step of taught costs about
# 2.55 plain ones, and 230 epochs are 2.56 times 90. What the teacher's own training costs is not counted.
longer = {
    **student,
    'train_cfg.max_epochs': '230',
    'train_cfg.val_interval': '230',
    'param_scheduler.1.milestones': '[161,207]',
    'param_scheduler.1.end': '230',
}
taught = {**student, 'default_hooks.distill.teacher.checkpoint': '{teacher}'}
teachers = dict(
    teacher=dict(config='configs/unlabelled/gfl_lite0_bccd_quarter.py', note='EfficientNet-Lite0, 900 steps')
)
arms = dict(
    plain=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_view.py',
        options=student,
        note='900 steps, half of the labelled images in the strong view',
    ),
    longer=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_view.py',
        options=longer,
        note='the same for 2300 steps, which cost as much as those of taught',
    ),
    taught=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_taught.py',
        options=taught,
        note='and eight unlabelled images a step: the teacher sees the image, the student a view',
    ),
    labelled=dict(
        config='configs/unlabelled/gfl_r18w32_bccd_quarter_taught.py',
        options={**taught, 'default_hooks.distill.unlabelled.dataloader.dataset.indices': '73'},
        note='the same with the 73 labelled images in place of the unlabelled ones',
    ),
)
del taught, longer, student
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
contrasts = (('taught', 'plain'), ('taught', 'labelled'), ('labelled', 'plain'), ('taught', 'longer'))
# The validation data are the test data; one measurement, after the last epoch.
test_last = False
refuted_if = """
The 95 % interval of taught minus plain in AP holds 0, or taught is no better than the teacher on the labelled images.
Added with the arm `longer`: what taught gains is bought with time where the interval of taught minus longer holds 0.
"""
stop_if = 'After three seeds the mean of taught minus plain is below 0.'
