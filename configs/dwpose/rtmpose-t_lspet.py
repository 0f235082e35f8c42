# RTMPose-t from scratch on LSPE at 160x192: the plain student.
_base_ = [
    '../_base_/models/rtmpose_t.py',
    '../_base_/datasets/lspet.py',
    '../_base_/schedules/rtmpose_scratch.py',
    '../_base_/runtime_pose.py',
]
model = dict(head=dict(out_channels=14, input_size=(160, 192), in_featuremap_size=(5, 6), decoder=_base_.codec))
