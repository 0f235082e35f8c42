# RetinaNet with ResNet-50 on COCO, taught the pyramid of MMDetection's RetinaNet with ResNeXt-101 in and outside of
# objects. Neck and head start from the teacher's, as in the release.
_base_ = ['mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', '../_base_/distill/focal_global.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        init_from_teacher=['neck', 'bbox_head'],
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_x101_64x4d_fpn_1x_coco/'
            'retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth',
            mode='extract_feat',
        ),
        distillers=dict(fgd=_base_.dense),
    )
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
