"""Queries, boxes and memory for tests of deformable attention."""

from __future__ import annotations

import torch
from torch import Tensor

SHAPES = [(6, 4), (3, 2), (2, 1)]
POSITIONS = sum(height * width for height, width in SHAPES)


def inputs(channels: int = 16, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, boxes of which some reach out of the image, and a memory."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 5, channels, generator=generator, dtype=dtype)
    boxes = torch.rand(2, 5, 4, generator=generator, dtype=dtype) * torch.tensor([1.0, 1.0, 0.5, 1.5], dtype=dtype)
    return query, boxes, torch.randn(2, POSITIONS, channels, generator=generator, dtype=dtype)
