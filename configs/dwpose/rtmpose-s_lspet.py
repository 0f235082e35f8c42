# RTMPose-s from scratch on LSPE at 160x192: the teacher of the first stage.
_base_ = './rtmpose-t_lspet.py'
model = dict(backbone=dict(deepen_factor=0.33, widen_factor=0.5), head=dict(in_channels=512))
