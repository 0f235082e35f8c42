# The smallest student: a quarter of the channels everywhere, a sixteenth of parameters and operations.
_base_ = './pointpillars_scenes.py'
model = _base_.quarter_channels
