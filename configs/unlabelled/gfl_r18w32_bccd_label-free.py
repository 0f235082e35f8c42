# The half-width baseline without labels: a finished GFL-R18 teaches it on images alone, half of which it sees in a
# strong view. No annotation is read, and the losses on labels have the weight 0. Train gfl_r18_bccd_quarter.py first,
# in the same working folder, or let the environment variable BCCD_TEACHER name a checkpoint.
_base_ = ['../gfl/gfl_r18w32_bccd.py', '../_base_/distill/dense_gfl.py']
images = dict(
    type='kd_plugins.ImageFolder',
    data_root=_base_.data_root,
    metainfo=_base_.metainfo,
    # Only the names of the images are read: the folder holds those of the test as well.
    ann_file='coco/trainval.json',
    data_prefix=dict(img='JPEGImages/'),
    # Its step that loads boxes finds none, which is what the head needs.
    pipeline=_base_.train_pipeline,
)
# A folder without a list does not know the sizes of its images.
train_dataloader = dict(batch_sampler=None, dataset=dict(_delete_=True, **images))
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        task_weight=0.0,
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::gfl/gfl_r18_bccd_quarter.py',
            checkpoint='{{$BCCD_TEACHER:work_dirs/gfl_r18_bccd_quarter/epoch_24.pth}}',
        ),
        student_view=dict(labelled=dict(type='kd_plugins.PhotometricView', min_easy=0.5)),
        distillers=dict(logits=_base_.logits, edges=_base_.edges),
    )
)
