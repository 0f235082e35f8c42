# Parts of every small DETR: ResNet-18, one map of 256 channels per level, 1 encoder and 3 decoder layers, 100 queries.
_base_ = './resnet18_detector.py'
model = dict(
    num_queries=100,
    data_preprocessor=dict(pad_size_divisor=1),
    neck=dict(type='ChannelMapper', kernel_size=1, out_channels=256, act_cfg=None),
    encoder=dict(num_layers=1),
    decoder=dict(num_layers=3, return_intermediate=True),
    positional_encoding=dict(num_feats=128, normalize=True),
    bbox_head=dict(
        num_classes=80,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
    ),
    test_cfg=dict(max_per_img=100),
)
