# RT-DETRv2-S on COCO, four GPUs with 4 images each: 117 epochs with strong augmentation and 3 without, one size of
# images, and the same rate for all parameters after 2000 iterations. Norms do not decay, biases do.
_base_ = [
    '../_base_/models/rtdetr_r18vd.py',
    '../_base_/datasets/coco_640.py',
    '../_base_/schedules/rtdetr.py',
]
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/resnet18vd.pth', prefix='backbone.'))
)
train_dataloader = dict(batch_size=4)
train_cfg = dict(max_epochs=120)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, norm_decay_mult=0))
param_scheduler = [dict(type='LinearLR', start_factor=1 / 2000, by_epoch=False, begin=0, end=2000)]
default_hooks = dict(
    second_stage=dict(
        type='kd_plugins.SecondStageHook', stop_epoch=117, pipeline=_base_.second_stage_pipeline, reload_best=False
    )
)
