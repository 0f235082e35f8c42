# D-FINE-M on COCO from weights of Objects365, 48 + 8 epochs at a constant rate. `kd_plugins convert`
# makes the file; a run without it ends before its first step, and --cfg-options load_from=FILE names another one.
_base_ = './dfine_m_coco.py'
load_from = 'checkpoints/dfine_m_obj365.pth'
model = dict(backbone=dict(weights=None))
train_cfg = dict(max_epochs=56)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4, weight_decay=1.25e-4))
param_scheduler = None
default_hooks = dict(second_stage=dict(stop_epoch=48))
