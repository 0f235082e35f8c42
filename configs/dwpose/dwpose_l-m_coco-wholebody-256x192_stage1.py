# DWPose's first stage on COCO-WholeBody at 256x192: RTMPose-l teaches RTMPose-m.
_base_ = [
    'mmpose::wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-m_8xb64-270e_coco-wholebody-256x192.py',
    '../_base_/distill/dwpose_wholebody.py',
]
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmpose::wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-l_8xb64-270e_coco-wholebody-256x192.py',
    checkpoint='https://download.openmmlab.com/mmpose/v1/projects/'
    'rtmpose/rtmpose-l_simcc-coco-wholebody_pt-aic-coco_270e-256x192-6f206314_20230124.pth',
)
default_hooks = dict(distill=dict(teacher=teacher, **_base_.dwpose_stage1))
optim_wrapper = dict(clip_grad=dict(max_norm=1.0, norm_type=2))
