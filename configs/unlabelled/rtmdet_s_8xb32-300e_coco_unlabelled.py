# RTMDet-s on COCO and unlabelled images: class scores and decoded boxes of the 1 % most confident locations. The
# average that teaches is the one that RTMDet evaluates anyway.
_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../_base_/distill/unlabelled.py']
default_hooks = dict(
    distill=dict(
        unlabelled=dict(
            dataloader=dict(
                batch_size=32,
                dataset=dict(
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='Resize', scale=(640, 640), keep_ratio=True),
                        dict(type='RandomFlip', prob=0.5),
                        dict(type='Pad', size=(640, 640), pad_val=dict(img=(114, 114, 114))),
                        dict(type='PackDetInputs'),
                    ],
                    **_base_.folder,
                ),
                **_base_.loader,
            ),
            weight=_base_.ramp,
        ),
        distillers=dict(
            logits=dict(
                type='kd_plugins.LogitDistiller',
                on='unlabelled',
                logits='bbox_head.rtm_cls.*',
                select=dict(ratio=0.01),
                weight=4.0,
            ),
            boxes=dict(type='kd_plugins.BoxDistiller', on='unlabelled', select=dict(ratio=0.01)),
        ),
        **_base_.distill,
    )
)
