# The two stages of DWPose with the values of its release, for any RTMPose. `reference` divides by the images of one GPU
# (64 at 256x192, 32 at 384x288), so the ratio to the task loss holds for these only: with another batch size, use
# `reduction='task'` and a weight of 0.7 (256x192) or 2.1 (384x288) instead of 0.1.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
dwpose_stage1 = dict(
    type='kd_plugins.DistillHook',
    distillers=dict(
        simcc=dict(
            type='kd_plugins.SimCCDistiller',
            reduction='reference',
            weight=dict(type='kd_plugins.LinearDecay', value=0.1),
        ),
        feature=dict(
            type='kd_plugins.FeatureDistiller',
            student_tap='backbone',
            reduction='sum',
            weight=dict(type='kd_plugins.LinearDecay', value=7e-5),
        ),
    ),
)
# The learning rate stays where it is during the 60 epochs, as in the release: the schedule of 270 epochs begins to fall
# at epoch 135. The averaged weights are the result.
dwpose_stage2 = dict(
    type='kd_plugins.DistillHook',
    restart=dict(parts=['head']),
    task_weight=0.0,
    teacher=dict(type='kd_plugins.FinishedTeacher'),
    distillers=dict(simcc=dict(type='kd_plugins.SimCCDistiller', reduction='reference', weight=1.0)),
)
