"""Statistics of channels over the positions of all images of all ranks, with gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor
from torch.autograd.function import once_differentiable

from .reduction import to_float


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over ranks; its gradient is the sum of the gradients of all ranks."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        all_reduce(total)
        return total


def shared_sum(value: Tensor) -> Tensor:
    """Return the sum of ``value`` over all ranks, with gradient also from the losses of other ranks.

    Every rank must call it, in the backward pass too. The mean that DDP takes of the gradients of all ranks is then the
    gradient of the mean of their losses, as in synchronized batch normalization.

    Args:
        value: Tensor of the same shape on every rank.

    >>> shared_sum(torch.tensor(3.0))
    tensor(3.)
    """
    if get_world_size() == 1:
        return value
    total: Tensor = _SumOverRanks.apply(value)
    return total


def channel_rows(x: Tensor, dim: int = 1) -> Tensor:
    """Return the positions of every channel in a row, in float32 (float64 for float64).

    Args:
        x: Features, (N, C), (N, C, *spatial) or with the channels in ``dim``.
        dim: Dimension of the channels.

    Returns:
        Shape (N, C, P); P is 1 without spatial dimensions.

    >>> channel_rows(torch.zeros(2, 5, 4), dim=-1).shape
    torch.Size([2, 4, 5])
    """
    moved = to_float(x).movedim(dim, 1)
    return moved.flatten(2) if moved.ndim > 2 else moved[..., None]


def position_weights(rows: Tensor, valid: Tensor | None) -> Tensor:
    """Return 1 for every position that counts and 0 for the others, shape (N, 1, P).

    Args:
        rows: Result of :func:`channel_rows`.
        valid: Booleans, shape (N, P), False at positions that do not count; None counts all.
    """
    if valid is None:
        return rows.new_ones(rows.shape[0], 1, rows.shape[2])
    return valid[:, None].to(rows.dtype)


def normalize_channels(
    levels: Sequence[Tensor], valid: Sequence[Tensor | None], dim: int = 1, eps: float = 1e-5
) -> list[Tensor]:
    r"""Return features whose channels have mean 0 and variance 1 over the images of all ranks.

    .. math:: \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}}

    with the biased variance, as batch normalization without affine parameters and running statistics. The statistics
    have gradient. Every rank must call it, and the sums of all levels are reduced together.

    Args:
        levels: Features, (N, C), (N, C, *spatial) or with the channels in ``dim``.
        valid: For each level, booleans of shape (N, P) over its P positions in row-major order, False at positions that
            are normalized and do not count in the statistics; or None, which counts all.
        dim: Dimension of the channels.
        eps: Added to the variance.

    Returns:
        Features of the same shapes, float32 (float64 for float64).

    >>> normalize_channels([torch.tensor([[1.0, 2.0], [3.0, 2.0]])], [None])[0].round(decimals=2)
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    if not levels:
        return []
    rows = [channel_rows(x, dim) for x in levels]
    weights = [position_weights(x, mask) for x, mask in zip(rows, valid)]
    counts = torch.stack([w.sum() for w in weights])
    channels = [x.shape[1] for x in rows]
    sums = [(x * w).sum(dim=(0, 2)) for x, w in zip(rows, weights)]
    totals = shared_sum(torch.cat([counts, *sums])).split([len(rows), *channels])
    sizes = totals[0].clamp(min=1.0)
    centred = [x - (total / size)[:, None] for x, total, size in zip(rows, totals[1:], sizes)]
    squares = [(x.square() * w).sum(dim=(0, 2)) for x, w in zip(centred, weights)]
    spreads = shared_sum(torch.cat(squares)).split(channels)
    normalized = [x * (total / size + eps).rsqrt()[:, None] for x, total, size in zip(centred, spreads, sizes)]
    return [y.reshape(x.movedim(dim, 1).shape).movedim(1, dim) for x, y in zip(levels, normalized)]
