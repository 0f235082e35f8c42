"""Inputs of the golden values that the released functions gave."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sines(*shape: int) -> Tensor:
    """Return sin(0.37 k) in row-major order, float32."""
    return torch.sin(0.37 * torch.arange(math.prod(shape))).reshape(shape)


def cosines(*shape: int) -> Tensor:
    """Return cos(0.53 k + 0.2) in row-major order, float32."""
    return torch.cos(0.53 * torch.arange(math.prod(shape)) + 0.2).reshape(shape)
