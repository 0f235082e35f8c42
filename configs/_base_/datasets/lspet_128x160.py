# LSPE with SimCC targets at 128x160, for estimators that start from a pretrained backbone.
_base_ = './lspet.py'
codec = dict(input_size=(128, 160), sigma=(4.0, 4.47))
train_pipeline = [
    *_base_.train_pipeline[:4],
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=dict(_base_.codec, **codec)),
    _base_.train_pipeline[-1],
]
val_pipeline = [*_base_.val_pipeline[:2], train_pipeline[4], _base_.val_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
