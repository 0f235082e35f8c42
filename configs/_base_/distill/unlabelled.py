# Unlabelled images in data/unlabelled, a photometric view for the student, and the average of MMEngine's EMAHook as
# teacher, which is evaluated and saved as well. A config adds its distillers or pseudo labels, and
# `custom_hooks=[average]` where its base has no EMAHook.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
average = dict(type='EMAHook', momentum=4e-4, update_buffers=True, priority=49)
ramp = dict(type='kd_plugins.LinearWarmup', value=1.0, begin=5000, end=10000)
folder = dict(type='kd_plugins.ImageFolder', data_root='data/unlabelled/')
loader = dict(num_workers=2, persistent_workers=True)
distill = dict(
    type='kd_plugins.DistillHook',
    teacher=dict(type='kd_plugins.EMATeacher', share='EMAHook'),
    student_view=dict(type='kd_plugins.PhotometricView', on=('unlabelled',)),
)
