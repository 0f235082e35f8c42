# The demo's distilled run: 776 more images, without labels. The average of the weights predicts on the image, the
# student learns from that on a strong view of it.
_base_ = ['./gfl_r18_digits_few.py', '../_base_/distill/dense_gfl.py']
begin = 120
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
                    data_prefix=dict(img='train/'),
                    indices=list(range(24, 800)),
                    pipeline=_base_.train_pipeline,
                ),
            ),
            weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=begin, end=begin + 40),
            statistics='both',
        ),
        distillers=dict(
            logits=dict(on='unlabelled', **_base_.logits),
            edges=dict(on='unlabelled', **_base_.edges),
        ),
    )
)
