# ATSS-R50 on COCO, whose features go through the last convolution of the head of ATSS-R101 (CrossKD).
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::atss/atss_r101_fpn_1x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
            'atss/atss_r101_fpn_1x_coco/atss_r101_fpn_1x_20200825-dfcadd6f.pth',
        ),
        distillers=dict(cross=dict(type='kd_plugins.CrossHeadDistiller', index=3, weight=1.0)),
    )
)
