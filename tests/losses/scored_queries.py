"""Six queries with class logits and quality scores, for the varifocal loss."""

from __future__ import annotations

import torch
from torch import Tensor


def data(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (6, 3), quality (6,) and labels (6,), of which 3 is the background."""
    generator = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    quality = torch.rand(6, generator=generator, dtype=torch.float64)
    return logits.to(dtype), quality.to(dtype), torch.tensor([0, 3, 2, 1, 3, 2])
