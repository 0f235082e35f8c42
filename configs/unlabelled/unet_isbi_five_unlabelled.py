# The other 19 training slices without their labels: where the average of the weights is sure of a pixel, its class is
# the label of the student, which sees a strong view and a rectangle of another slice.
_base_ = './unet_isbi_five_view.py'
unlabelled = [index for index in range(24) if index not in _base_.labelled]
begin = 300  # by then the average finds membranes
default_hooks = dict(
    distill=dict(
        teacher=dict(type='kd_plugins.EMATeacher', share='EMAHook'),
        student_view=dict(
            unlabelled=dict(type='kd_plugins.CutMix', view=dict(type='kd_plugins.PhotometricView', preset='unimatch'))
        ),
        unlabelled=dict(
            dataloader=dict(
                batch_size=2,
                num_workers=1,
                dataset=dict(
                    type=_base_.dataset_type,
                    data_root=_base_.data_root,
                    fold=_base_.fold,
                    indices=unlabelled,
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='RandomCrop', crop_size=_base_.crop_size),
                        dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']),
                        dict(type='PackSegInputs'),
                    ],
                ),
            ),
            weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=begin, end=begin + 100),
            statistics='both',
        ),
        distillers=dict(
            pixels=dict(
                type='kd_plugins.LogitDistiller',
                on='unlabelled',
                logits='decode_head.conv_seg',
                activation='softmax',
                target='hard',
                select=dict(score=0.95),
            )
        ),
    )
)
