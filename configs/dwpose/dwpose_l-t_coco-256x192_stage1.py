# DWPose's first stage on COCO's 17 keypoints at 256x192: RTMPose-l teaches RTMPose-t.
_base_ = [
    'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py',
    '../_base_/distill/dwpose_rtmpose-l_coco.py',
]
default_hooks = dict(distill=dict(teacher=_base_.teacher, **_base_.dwpose_stage1))
optim_wrapper = dict(clip_grad=dict(max_norm=1.0, norm_type=2))
