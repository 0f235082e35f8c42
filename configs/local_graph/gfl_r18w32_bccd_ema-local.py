# The half-width GFL, taught the local graphs of its own moving average in the last six of its sixteen epochs.
_base_ = './gfl_r18_bccd_ema-local.py'
model = dict(backbone=dict(base_channels=32), neck=dict(in_channels=[32, 64, 128, 256]))
train_cfg = dict(val_interval=4)
