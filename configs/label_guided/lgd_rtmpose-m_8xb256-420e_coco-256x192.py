# RTMPose-m on COCO, taught by a feature map made of the joints and of its own map (LGD, carried over from detectors).
_base_ = [
    'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py',
    '../_base_/distill/label_guided.py',
]
default_hooks = dict(distill=dict(distillers=dict(guide=dict(channels=256, **_base_.guide)), **_base_.distill))
