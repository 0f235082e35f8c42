# D-FINE-S on COCO from weights of Objects365, 56 + 8 epochs at a constant rate. `kd_plugins convert`
# makes the file; a run without it ends before its first step, and --cfg-options load_from=FILE names another one.
_base_ = './dfine_s_coco.py'
load_from = 'checkpoints/dfine_s_obj365.pth'
model = dict(
    backbone=dict(weights=None),
    data_preprocessor=dict(
        batch_augments=[
            dict(
                type='kd_plugins.BatchListResize',
                sizes=[480, 512, 544, 576, 608, *[640] * 10, 672, 704, 736, 768, 800],
            )
        ]
    ),
)
train_cfg = dict(max_epochs=64)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4, weight_decay=1.25e-4))
param_scheduler = None
default_hooks = dict(second_stage=dict(stop_epoch=56))
