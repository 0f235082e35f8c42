# The other 219 training images without their labels: the average of the weights predicts on the image, the student
# learns from that on a strong view of it.
_base_ = ['./gfl_r18w32_bccd_quarter_view.py', '../_base_/distill/dense_gfl.py']
begin = 400
default_hooks = dict(
    distill=dict(
        teacher=dict(type='kd_plugins.EMATeacher', share='EMAHook'),
        student_view=dict(unlabelled=dict(type='kd_plugins.PhotometricView')),
        unlabelled=dict(
            dataloader=dict(
                batch_size=8,
                num_workers=1,
                dataset=dict(
                    type='kd_plugins.ImageFolder',
                    data_root=_base_.data_root,
                    ann_file='coco/trainval.json',
                    data_prefix=dict(img='JPEGImages/'),
                    indices=list(range(73, 292)),
                    pipeline=_base_.train_pipeline,
                ),
            ),
            weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=begin, end=begin + 100),
            statistics='both',
        ),
        distillers=dict(
            logits=dict(on='unlabelled', **_base_.logits),
            edges=dict(on='unlabelled', **_base_.edges),
        ),
    )
)
