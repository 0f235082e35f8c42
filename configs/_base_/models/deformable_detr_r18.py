# A two-stage Deformable DETR that a CPU can train from scratch: the last two stages of ResNet-18, three levels from
# stride 16 on.
_base_ = './detr_r18.py'
model = dict(
    type='DeformableDETR',
    num_feature_levels=3,
    with_box_refine=True,
    as_two_stage=True,
    backbone=dict(num_stages=4, out_indices=(2, 3)),
    neck=dict(in_channels=[256, 512], norm_cfg=dict(type='GN', num_groups=32), num_outs=3),
    encoder=dict(
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_levels=3, dropout=0.0),
            ffn_cfg=dict(embed_dims=256, feedforward_channels=1024, ffn_drop=0.0),
        ),
    ),
    decoder=dict(
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.0),
            cross_attn_cfg=dict(embed_dims=256, num_levels=3, dropout=0.0),
            ffn_cfg=dict(embed_dims=256, feedforward_channels=1024, ffn_drop=0.0),
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(offset=-0.5),
    bbox_head=dict(type='DeformableDETRHead', sync_cls_avg_factor=True, loss_cls=dict(loss_weight=2.0)),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
)
