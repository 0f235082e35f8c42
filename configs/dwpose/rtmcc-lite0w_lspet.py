# RTMCC with RTMPose's wide head on a pretrained EfficientNet-Lite0, LSPE at 128x160: the teacher of the first stage.
# The environment variable LSPET_TEACHER_EPOCHS sets the number of epochs, twice that of the student.
_base_ = './rtmcc-lite0_lspet.py'
max_epochs = {{'$LSPET_TEACHER_EPOCHS:40'}}
model = dict(head=dict(gau_cfg=dict(hidden_dims=256, s=128)))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [_base_.warmup, dict(begin=max_epochs // 2, **_base_.cosine)]
custom_hooks = [dict(momentum=10 / (max_epochs * _base_.epoch_length), **_base_.average)]
