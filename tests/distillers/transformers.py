"""Small transformers for tests of taps on attention layers."""

from __future__ import annotations

import pytest
from torch import nn


def swin() -> nn.Module:
    """Return a model with a Swin transformer of MMSegmentation."""
    backbones = pytest.importorskip('mmseg.models.backbones')
    model = nn.Module()
    model.backbone = backbones.SwinTransformer(
        embed_dims=12, depths=(2, 2, 2), num_heads=(1, 2, 4), strides=(4, 2, 2), window_size=4, out_indices=(2,)
    )
    return model
