# What the five sizes of RT-DETR (arXiv 2304.08069) and RT-DETRv2 (arXiv 2407.17140) share: levels of strides 8, 16 and
# 32, 300 queries, a decoder of 256 channels, and the losses of the release. Images are RGB in 0..1. The sizes are in
# rtdetr_r18vd.py to rtdetr_r101vd.py.
_base_ = './dfine.py'
model = dict(
    type='kd_plugins.RTDETR',
    backbone=dict(_delete_=True, type='ResNetV1d', depth=50, out_indices=(1, 2, 3), style='pytorch'),
    encoder=dict(fusion='csp', num_blocks=3, out_channels=256),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(num_points=(4, 4, 4), method='default'))),
    bbox_head=dict(
        _delete_=True,
        type='kd_plugins.RTDETRHead',
        num_classes=80,
        embed_dims=256,
        sync_cls_avg_factor=True,
        loss_cls=dict(type='kd_plugins.VFLLoss'),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
    ),
)
