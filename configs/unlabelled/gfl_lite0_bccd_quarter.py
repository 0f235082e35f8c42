# The teacher where labels are few: a pretrained EfficientNet-Lite0, fine-tuned on the first 73 images of `trainval` for
# 900 steps, half of the images in a strong view.
_base_ = '../gfl/gfl_lite0_bccd.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
train_dataloader = dict(dataset=dict(indices=73))

max_epochs = 90  # of 10 steps
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[63, 81], gamma=0.1),
]
default_hooks = dict(
    checkpoint=dict(interval=10, max_keep_ckpts=1, save_best=None),
    distill=dict(
        type='kd_plugins.DistillHook',
        student_view=dict(labelled=dict(type='kd_plugins.PhotometricView', min_easy=0.5)),
        distillers=dict(),
    ),
)
