# Both stages of DWPose on COCO's 17 keypoints, for `kd_plugins train-stages`: MMPose's RTMPose-l teaches RTMPose-s,
# which teaches a new head of its own.
stages = dict(
    first=dict(config='kd_plugins::dwpose/dwpose_l-s_coco-256x192_stage1.py', pick='last'),
    second=dict(
        config='kd_plugins::dwpose/dwpose_s-s_coco-256x192_stage2.py', takes=dict(load_from='first'), pick='last'
    ),
)
