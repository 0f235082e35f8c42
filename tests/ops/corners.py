"""Corners of boxes, written apart from the package's own."""

from __future__ import annotations

import torch
from torch import Tensor


def to_corners(box: Tensor) -> Tensor:
    """Return (x1, y1, x2, y2) of boxes (cx, cy, w, h)."""
    return torch.cat([box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2], dim=-1)
