# A published Faster R-CNN with ResNet-101 as `teacher`, and in `distill` as the teacher of
# features. A config adds the distillers.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/'
    'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth',
)
distill = dict(type='kd_plugins.DistillHook', teacher=dict(teacher, mode='extract_feat'))
