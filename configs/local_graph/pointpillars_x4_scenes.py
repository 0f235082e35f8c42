# The student: half the channels everywhere, about a quarter of parameters and operations.
_base_ = './pointpillars_scenes.py'
model = _base_.half_channels
