# RTMDet-s on COCO, taught by RTMDet-m where the normalised channels of the neck are active, as in MMYOLO's distillation
# of RTMDet: the weight is 1 for each of the three levels, and 0 in the last 20 epochs, which have weak augmentation.
_base_ = 'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_m_8xb32-300e_coco/'
            'rtmdet_m_8xb32-300e_coco_20220719_112220-229f527c.pth',
            mode='extract_feat',
        ),
        distillers=dict(
            features=dict(
                type='kd_plugins.FeatureDistiller',
                student_tap='neck.out_convs.*.conv',
                kind='channel_wise',
                normalize='batch',
                weight=dict(type='kd_plugins.Stop', value=3.0, end=280, by_epoch=True),
            )
        ),
    )
)
