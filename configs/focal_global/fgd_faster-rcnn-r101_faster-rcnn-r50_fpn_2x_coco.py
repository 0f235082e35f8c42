# Faster R-CNN with ResNet-50 on COCO, taught the pyramid of MMDetection's Faster R-CNN with ResNet-101, in and outside
# of objects. Neck, RPN and RoI head start from the teacher's, as in the release.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py', '../_base_/distill/focal_global.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        init_from_teacher=['neck', 'rpn_head', 'roi_head'],
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/'
            'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth',
            mode='extract_feat',
        ),
        distillers=dict(fgd=_base_.two_stage),
    )
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
