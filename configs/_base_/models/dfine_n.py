# D-FINE-N, 3.8 million parameters: HGNetV2-B0, levels of strides 16 and 32, 128 channels, 3 decoder layers.
_base_ = './dfine.py'
model = dict(
    backbone=dict(out_indices=(2, 3)),
    neck=dict(in_channels=[512, 1024], out_channels=128, num_outs=2),
    encoder=dict(in_channels=[128, 128], feedforward_channels=512, expansion=0.34, num_blocks=2),
    decoder=dict(
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=128),
            cross_attn_cfg=dict(embed_dims=128, num_points=(6, 6)),
            ffn_cfg=dict(embed_dims=128, feedforward_channels=512),
        ),
    ),
    bbox_head=dict(embed_dims=128),
)
