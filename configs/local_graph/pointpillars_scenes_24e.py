# The same small PointPillars for 24 epochs: a teacher that has converged.
_base_ = './pointpillars_scenes.py'
max_epochs = 24
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [_base_.param_scheduler[0], {**_base_.param_scheduler[1], 'end': max_epochs}]
