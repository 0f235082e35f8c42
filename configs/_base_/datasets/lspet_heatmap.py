# LSPE with heatmaps as targets, at 128x160.
_base_ = './lspet.py'
# MMPose's standard deviation of 2 at 192x256, scaled.
heatmap = dict(type='MSRAHeatmap', input_size=(128, 160), heatmap_size=(32, 40), sigma=1.3)
codec = dict(_delete_=True, **heatmap)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', scale_factor=[0.75, 1.25], rotate_factor=60),
    dict(type='TopdownAffine', input_size=heatmap['input_size']),
    dict(type='GenerateTarget', encoder=heatmap),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=heatmap['input_size']),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
