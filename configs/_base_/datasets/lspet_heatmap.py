# LSPE with heatmaps as targets, at 96x128, in small batches and with mild rotation: a small budget from scratch.
_base_ = './lspet.py'
# Three standard deviations are a whole number of pixels: otherwise MMPose's codec shifts peaks near the left and upper
# border by one.
heatmap = dict(type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=5 / 3)
codec = dict(_delete_=True, **heatmap)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', scale_factor=[0.9, 1.1], rotate_factor=20),
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
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
