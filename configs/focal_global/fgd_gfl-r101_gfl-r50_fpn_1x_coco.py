# GFL with ResNet-50 on COCO, taught the pyramid of MMDetection's GFL with ResNet-101, in and outside of objects. Neck
# and head start from the teacher's, as in the release. Leave `init_from_teacher` out to measure the loss alone.
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distill/focal_global.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        init_from_teacher=['neck', 'bbox_head'],
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/'
            'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth',
            mode='extract_feat',
        ),
        distillers=dict(fgd=_base_.dense),
    )
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
