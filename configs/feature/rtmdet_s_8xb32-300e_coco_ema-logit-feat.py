# RTMDet-s on COCO, taught by the moving average of itself: class logits of every location and the neck's features.
_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../_base_/distill/ema.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            logits=dict(
                type='kd_plugins.LogitDistiller',
                logits='bbox_head.rtm_cls.*',
                activation='sigmoid',
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=1000),
            ),
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.out_convs.*',
                kind='channel_wise',
                weight=dict(type='kd_plugins.LinearWarmup', value=10.0, end=1000),
            ),
        ),
        **_base_.distill,
    )
)
