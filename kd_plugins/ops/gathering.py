"""Gather rows of tensors from all ranks."""

from __future__ import annotations

import torch
from mmengine.dist import all_gather, get_world_size
from torch import Tensor


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all ranks in the order of the ranks; every rank must call it.

    Args:
        rows: Shape (N, ...) without gradient; N may differ between ranks, also be 0.

    >>> gather_rows(torch.ones(2, 1))
    tensor([[1.],
            [1.]])
    """
    if get_world_size() == 1:
        return rows
    counts = [int(count) for count in all_gather(torch.tensor([len(rows)], device=rows.device))]
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    return torch.cat([part[:count] for part, count in zip(all_gather(padded), counts)])
