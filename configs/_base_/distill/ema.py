# The moving average of the student teaches, at the rate for trainings of tens of thousands of iterations. A config adds
# its distillers: `default_hooks = dict(distill=dict(distillers=dict(...), **_base_.distill))`.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
distill = dict(type='kd_plugins.DistillHook', teacher=dict(type='kd_plugins.EMATeacher', momentum=2e-4))
