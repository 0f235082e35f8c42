# A DAB-DETR that a CPU can train from scratch: the third stage of ResNet-18, one level at stride 16.
_base_ = './detr_r18.py'
model = dict(
    type='DABDETR',
    with_random_refpoints=False,
    num_patterns=0,
    backbone=dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)),
    neck=dict(in_channels=[256], norm_cfg=None, num_outs=1),
    encoder=dict(
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.0, batch_first=True),
            ffn_cfg=dict(
                embed_dims=256, feedforward_channels=1024, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='PReLU')
            ),
        ),
    ),
    decoder=dict(
        query_dim=4,
        query_scale_type='cond_elewise',
        with_modulated_hw_attn=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=8, attn_drop=0.0, proj_drop=0.0, cross_attn=False),
            cross_attn_cfg=dict(embed_dims=256, num_heads=8, attn_drop=0.0, proj_drop=0.0, cross_attn=True),
            ffn_cfg=dict(
                embed_dims=256, feedforward_channels=1024, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='PReLU')
            ),
        ),
    ),
    positional_encoding=dict(temperature=20),
    bbox_head=dict(type='DABDETRHead', embed_dims=256, loss_cls=dict(loss_weight=1.0)),
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
)
