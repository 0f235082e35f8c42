# The small baseline, taught by itself without a teacher network: each pyramid level imitates the next coarser one.
_base_ = '../gfl/gfl_r18_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.fpn_convs.0',
                teacher_tap='neck.fpn_convs.1',
                source='student',
                kind='cosine',
                resize='bilinear',
                weight=dict(type='kd_plugins.LinearWarmup', value=0.1, end=100),
            )
        ),
    )
)
