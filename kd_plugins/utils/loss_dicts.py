"""Loss dicts of OpenMMLab models, summed as MMEngine does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

ADDED = 'loss'
"""Part of a key by which MMEngine's ``parse_losses`` recognises the values that it adds."""


def tensors_of(value: Any) -> list[Tensor]:
    """Return the tensors of one entry of a loss dict, which is a tensor or a list of them."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    return [entry for entry in entries if isinstance(entry, Tensor)]


def loss_sum(losses: Mapping[str, Any]) -> Tensor:
    """Return the sum of a loss dict as MMEngine's ``parse_losses`` computes it, with its graph.

    >>> loss_sum({'loss_cls': [torch.tensor([1.0, 3.0]), torch.tensor(0.5)], 'acc': torch.tensor(90.0)})
    tensor(2.5000)
    """
    means = [entry.float().mean() for key in losses if ADDED in key for entry in tensors_of(losses[key])]
    return torch.stack(means).sum() if means else torch.zeros(())
