# The other 1800 training photographs with the boxes of their persons and without keypoints: the average of the weights
# predicts on the image, the student learns the joints of which it is sure from a strong view of it.
_base_ = './rtmcc-lite0_lspet_tenth_view.py'
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
                    ann_file='coco/train.json',
                    data_prefix=dict(img='images/'),
                    bbox_file=_base_.data_root + 'coco/train.json',
                    indices=list(range(200, 2000)),
                    # All steps but the one that makes targets of keypoints.
                    pipeline=[*_base_.train_pipeline[:5], dict(type='PackPoseInputs')],
                ),
            ),
            weight=dict(type='kd_plugins.LinearWarmup', value=1.0, begin=begin, end=begin + 100),
        ),
        distillers=dict(simcc=dict(type='kd_plugins.SimCCDistiller', on='unlabelled', select=dict(score=0.02))),
    )
)
