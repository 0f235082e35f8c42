# Kinds of feature distillation of a pyramid. A config adds the teacher and the weight, and that of the release is meant
# for each level, while the loss is a mean over levels.
squares = dict(type='kd_plugins.FeatureDistiller', student_tap='neck.fpn_convs.*', kind='mse')
# PKD.
pearson = dict(type='kd_plugins.FeatureDistiller', student_tap='neck.fpn_convs.*', kind='pearson')
# The distillation of RTMDet in MMYOLO.
normalized = dict(
    type='kd_plugins.FeatureDistiller', student_tap='neck.fpn_convs.*', kind='channel_wise', normalize='batch'
)
# MGD, with its shares of masked positions for one-stage and two-stage detectors.
sums = dict(type='kd_plugins.FeatureDistiller', student_tap='neck.fpn_convs.*', reduction='sum')
generation = dict(adapter=dict(type='kd_plugins.MaskedGenerator', mask_ratio=0.65), **sums)
two_stage_generation = dict(adapter=dict(type='kd_plugins.MaskedGenerator', mask_ratio=0.45), **sums)
