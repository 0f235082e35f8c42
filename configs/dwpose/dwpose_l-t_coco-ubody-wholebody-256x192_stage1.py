# DWPose's first stage on COCO-WholeBody and UBody at 256x192: RTMPose-l teaches RTMPose-t.
_base_ = [
    'mmpose::wholebody_2d_keypoint/rtmpose/ubody/rtmpose-t_8xb64-270e_coco-ubody-wholebody-256x192.py',
    '../_base_/distill/dwpose_rtmpose-l_ucoco.py',
]
default_hooks = dict(distill=dict(teacher=_base_.teacher, **_base_.dwpose_stage1))
optim_wrapper = dict(clip_grad=dict(max_norm=1.0, norm_type=2))
