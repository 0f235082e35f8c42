# D-FINE-X on COCO from weights of Objects365, 30 + 6 epochs at a constant rate. Give the converted weights:
# --cfg-options load_from=FILE.
_base_ = './dfine_x_coco.py'
model = dict(backbone=dict(weights=None))
train_cfg = dict(max_epochs=36)
param_scheduler = None
default_hooks = dict(second_stage=dict(stop_epoch=30))
