# RTMPose-m on COCO and persons without keypoints, in boxes of a detector: the coordinates of the joints of which the
# teacher is sure. The average that teaches is the one that RTMPose evaluates anyway.
_base_ = [
    'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py',
    '../_base_/distill/unlabelled.py',
]
default_hooks = dict(
    distill=dict(
        unlabelled=dict(
            dataloader=dict(
                batch_size=256,
                dataset=dict(
                    ann_file='images.json',
                    bbox_file='data/unlabelled/person_boxes.json',
                    bbox_score_thr=0.5,
                    pipeline=[
                        dict(type='LoadImage', backend_args=_base_.backend_args),
                        dict(type='GetBBoxCenterScale'),
                        dict(type='RandomFlip', direction='horizontal'),
                        dict(type='TopdownAffine', input_size=_base_.codec.input_size),
                        dict(type='PackPoseInputs'),
                    ],
                    **_base_.folder,
                ),
                **_base_.loader,
            ),
            weight=_base_.ramp,
        ),
        distillers=dict(
            simcc=dict(type='kd_plugins.SimCCDistiller', on='unlabelled', select=dict(score=0.1)),
        ),
        **_base_.distill,
    )
)
