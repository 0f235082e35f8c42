# DWPose's first stage on COCO-WholeBody and UBody at 384x288: RTMPose-x teaches RTMPose-l.
_base_ = [
    'mmpose::wholebody_2d_keypoint/rtmpose/ubody/rtmpose-l_8xb32-270e_coco-ubody-wholebody-384x288.py',
    '../_base_/distill/dwpose_wholebody.py',
]
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmpose::wholebody_2d_keypoint/rtmpose/ubody/rtmpose-x_8xb32-270e_coco-ubody-wholebody-384x288.py',
    checkpoint='https://download.openmmlab.com/mmpose/v1/projects/'
    'rtmposev1/rtmpose-x_ucoco_384x288-f5b50679_20230822.pth',
)
default_hooks = dict(distill=dict(teacher=teacher, **_base_.dwpose_stage1))
optim_wrapper = dict(clip_grad=dict(max_norm=1.0, norm_type=2))
