# What the five sizes of D-FINE share (arXiv 2410.13842): levels of strides 8, 16 and 32, 256 channels, 300 queries, and
# the losses of the release. Images are RGB in 0..1. The sizes are in dfine_n.py to dfine_x.py.
model = dict(
    type='kd_plugins.DFINE',
    num_queries=300,
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0], bgr_to_rgb=True, pad_size_divisor=1
    ),
    backbone=dict(type='kd_plugins.HGNetV2', arch='B0', out_indices=(1, 2, 3), use_lab=True),
    neck=dict(
        type='ChannelMapper',
        in_channels=[256, 512, 1024],
        out_channels=256,
        kernel_size=1,
        act_cfg=None,
        norm_cfg=dict(type='BN'),
        num_outs=3,
        init_cfg=None,
    ),
    encoder=dict(type='kd_plugins.HybridEncoder', in_channels=[256, 256, 256], feedforward_channels=1024),
    decoder=dict(
        num_layers=3,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.0),
            cross_attn_cfg=dict(embed_dims=256, num_heads=8, num_points=(3, 6, 3)),
            ffn_cfg=dict(embed_dims=256, feedforward_channels=1024, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU')),
        ),
    ),
    bbox_head=dict(
        type='kd_plugins.FDRDINOHead',
        num_classes=80,
        embed_dims=256,
        sync_cls_avg_factor=True,
        reg_max=32,
        reg_scale=4.0,
        up=0.5,
        clamp_references=False,
        keep_every_object=False,
        loss_cls=dict(type='kd_plugins.VFLLoss'),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        loss_fgl=dict(type='kd_plugins.FGLLoss'),
        loss_ddf=dict(type='kd_plugins.DDFLoss', normalizer='rank', denoising_counts='matching'),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5, box_noise_scale=1.0, group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100)
    ),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0, eps=1e-8),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=300),
)
