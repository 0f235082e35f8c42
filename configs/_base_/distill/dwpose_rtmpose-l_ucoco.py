# DWPose's two stages, with the RTMPose-l of COCO-WholeBody and UBody at 256x192 as the teacher of stage 1.
_base_ = './dwpose_wholebody.py'
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmpose::wholebody_2d_keypoint/rtmpose/ubody/rtmpose-l_8xb64-270e_coco-ubody-wholebody-256x192.py',
    checkpoint='https://download.openmmlab.com/mmpose/v1/projects/'
    'rtmposev1/rtmpose-l_ucoco_256x192-95bb32f5_20230822.pth',
)
