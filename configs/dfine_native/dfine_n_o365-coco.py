# D-FINE-N on COCO from weights of Objects365, 56 + 8 epochs at a constant rate. `kd_plugins convert`
# makes the file; a run without it ends before its first step, and --cfg-options load_from=FILE names another one.
_base_ = './dfine_n_coco.py'
load_from = 'checkpoints/dfine_n_obj365.pth'
model = dict(backbone=dict(weights=None))
train_cfg = dict(max_epochs=64)
param_scheduler = None
default_hooks = dict(second_stage=dict(stop_epoch=56))
