# SegFormer on ADE20K and unlabelled images: the teacher's class is the label of the pixels where it is sure, and the
# student sees a strong view and a rectangle of another image.
_base_ = ['mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', '../_base_/distill/unlabelled.py']
custom_hooks = [_base_.average]
default_hooks = dict(
    distill=dict(
        _base_.distill,
        unlabelled=dict(
            dataloader=dict(
                batch_size=2,
                dataset=dict(
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
                        dict(type='RandomCrop', crop_size=(512, 512)),
                        dict(type='RandomFlip', prob=0.5),
                        dict(type='PackSegInputs'),
                    ],
                    **_base_.folder,
                ),
                **_base_.loader,
            ),
            weight=dict(_base_.ramp, value=0.5),
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
        student_view=dict(type='kd_plugins.CutMix', view=dict(type='kd_plugins.PhotometricView', preset='unimatch')),
    )
)
