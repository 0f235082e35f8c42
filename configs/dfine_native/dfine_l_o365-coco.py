# D-FINE-L on COCO from weights of Objects365, 30 + 6 epochs at a constant rate. `kd_plugins convert`
# makes the file; a run without it ends before its first step, and --cfg-options load_from=FILE names another one.
_base_ = './dfine_l_coco.py'
load_from = 'checkpoints/dfine_l_obj365.pth'
model = dict(backbone=dict(weights=None))
train_cfg = dict(max_epochs=36)
param_scheduler = None
default_hooks = dict(second_stage=dict(stop_epoch=30))
