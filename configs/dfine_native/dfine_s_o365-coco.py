# D-FINE-S on COCO from weights of Objects365, 56 + 8 epochs at a constant rate. Give the converted weights:
# --cfg-options load_from=FILE.
_base_ = './dfine_s_coco.py'
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
