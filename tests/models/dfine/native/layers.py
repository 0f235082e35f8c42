"""Config of a small decoder layer of D-FINE or RT-DETR."""

from __future__ import annotations

from typing import Any

DIMS, LAYERS, SHAPES = 16, 3, [(4, 6), (2, 3)]


def layer_config() -> dict[str, Any]:
    """Return the arguments of a layer with points on two levels."""
    return dict(
        self_attn_cfg=dict(embed_dims=DIMS, num_heads=4, dropout=0.0),
        cross_attn_cfg=dict(embed_dims=DIMS, num_heads=4, num_points=(2, 1)),
        ffn_cfg=dict(embed_dims=DIMS, feedforward_channels=8, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU')),
    )
