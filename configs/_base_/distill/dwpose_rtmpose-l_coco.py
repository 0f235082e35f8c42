# DWPose's two stages for COCO's 17 keypoints at 256x192, with MMPose's RTMPose-l as the teacher of stage 1. MMPose
# trains these with 256 images on a GPU: there, `reference` with 0.1 equals `reduction='task'` with 0.175.
_base_ = './dwpose_wholebody.py'
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-l_8xb256-420e_coco-256x192.py',
    checkpoint='https://download.openmmlab.com/mmpose/v1/projects/'
    'rtmposev1/rtmpose-l_simcc-coco_pt-aic-coco_420e-256x192-1352a4d2_20230127.pth',
)
