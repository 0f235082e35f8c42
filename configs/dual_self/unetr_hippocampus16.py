# The baseline that overfits: a UNETR of usual width on 16 hippocampus volumes. Other folds: HIPPOCAMPUS_FOLD=1 to 4.
# It is measured once, at its end, on the 40 test volumes; no checkpoint is chosen.
_base_ = [
    '../_base_/models/unetr.py',
    '../_base_/datasets/hippocampus16.py',
    '../_base_/schedules/adamw.py',
    '../_base_/runtime_volume.py',
]
max_epochs = 10
model = dict(network=dict(out_channels=3))
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-5), clip_grad=dict(max_norm=12))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, T_max=max_epochs, eta_min=1e-5),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best=None))
