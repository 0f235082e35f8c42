# DWPose's second stage alone on COCO's 17 keypoints: MMPose's RTMPose-l, trained without distillation, teaches a new
# head of its own.
_base_ = [
    'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-l_8xb256-420e_coco-256x192.py',
    '../_base_/distill/dwpose_rtmpose-l_coco.py',
]
load_from = _base_.teacher.checkpoint
train_cfg = dict(max_epochs=80)
default_hooks = dict(distill=_base_.dwpose_stage2)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0, norm_type=2))
