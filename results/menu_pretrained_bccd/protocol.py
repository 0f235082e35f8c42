"""The losses that users ask for by name, with a pretrained teacher, on blood cells (written before the first run)."""

question = """
A GFL on an EfficientNet-Lite0 with ImageNet weights teaches a GFL of half the width that starts from random weights.
The teacher of `menu_bccd` differs from its student in width alone and is hardly better. Which of the published losses
gains over plain training, and over a start from the teacher's neck and head, where the teacher is clearly better?
"""
# Teacher and student see the same images, normalised as the pretrained backbone wants them.
images = {
    'model.data_preprocessor.mean': '[127.5,127.5,127.5]',
    'model.data_preprocessor.std': '[127.5,127.5,127.5]',
}
taught = {
    **images,
    'default_hooks.distill.teacher.config': 'kd_plugins::gfl/gfl_lite0_bccd.py',
    'default_hooks.distill.teacher.checkpoint': '{teacher}',
}
teachers = dict(teacher=dict(config='configs/gfl/gfl_lite0_bccd.py', note='EfficientNet-Lite0, 16 epochs'))
# Weights are those of menu_bccd, which were not tuned on these data.
arms = dict(
    plain=dict(config='configs/gfl/gfl_r18w32_bccd.py', options=images, note='16 epochs'),
    inherit=dict(
        config='configs/focal_global/gfl-r18_gfl-r18w32_bccd_init.py',
        options=taught,
        note="neck and head start from the teacher's where their shapes agree, no distillation",
    ),
    ld=dict(
        config='configs/gfl/ld_gfl-r18_gfl-r18w32_bccd.py', options=taught, note='edge distributions and class scores'
    ),
    crosskd=dict(
        config='configs/cross_head/crosskd_gfl-r18_gfl-r18w32_bccd.py',
        options=taught,
        note="the teacher's head on the student's features",
    ),
    pkd=dict(config='configs/feature/pkd_gfl-r18_gfl-r18w32_bccd.py', options=taught, note='correlation of channels'),
    mse=dict(
        config='configs/feature/mse_gfl-r18_gfl-r18w32_bccd.py', options=taught, note='squared difference of the maps'
    ),
)
del taught, images
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
contrasts = (
    *((arm, 'plain') for arm in ('inherit', 'ld', 'crosskd', 'pkd', 'mse')),
    *((arm, 'inherit') for arm in ('ld', 'crosskd', 'pkd', 'mse')),
)
# The validation data are the test data; the last epoch is measured, and nothing is chosen by it.
test_last = False
refuted_if = """
A loss is refuted where the 95 % interval of its difference to plain in AP holds 0. The goal of the project, 1.5 AP over
plain and 1.0 over the inherited start with intervals above 0, is missed where no arm reaches both.
"""
stop_if = 'An arm whose mean difference to plain is below 0 after two seeds gets no third one.'
