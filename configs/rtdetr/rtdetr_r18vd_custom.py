# RT-DETR with ResNet-18-vd on data of one's own from released weights, 8 images a batch on one GPU, 60 + 12 epochs. The
# rate is that of COCO, scaled by the square root of the batch size. A file that inherits this gives classes and
# converted weights, of either version.
_base_ = [
    '../_base_/models/rtdetr_r18vd.py',
    '../_base_/datasets/custom_640.py',
    '../_base_/schedules/rtdetr_r18vd.py',
]
model = dict(data_preprocessor=dict(batch_augments=_base_.multi_scale))
optim_wrapper = dict(optimizer=dict(lr=7e-5))
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100)]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(
    logger=dict(interval=10),
    second_stage=dict(
        type='kd_plugins.SecondStageHook', stop_epoch=60, pipeline=_base_.second_stage_pipeline, reload_best=False
    ),
)
