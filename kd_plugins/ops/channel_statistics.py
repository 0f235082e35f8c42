"""Statistics of channels over the positions of all images of all ranks, with gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor
from torch.autograd.function import once_differentiable

from .reduction import to_float

ROUNDING = 1e-5
"""Standard deviation relative to the mean up to which values are equal but for rounding, in float32."""


def varies(variance: Tensor, mean: Tensor, least: float = 0.0) -> Tensor:
    """Return where values differ by more than the rounding of their mean, which equal values do not hit exactly.

    Args:
        variance: Variance of the values.
        mean: Their mean, of the same shape.
        least: Variance up to which they are equal whatever their mean.

    >>> varies(torch.tensor([1e-12, 1e-12]), torch.tensor([0.0, 3.0]))
    tensor([ True, False])
    """
    return variance > (ROUNDING * mean.detach()).square().clamp(min=least)


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


def _moments(rows: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the number of positions (), and of every channel the mean and the sum of squares about it, (C,)."""
    if weights is None:
        count = rows.shape[0] * rows.shape[2]
        if count == 0:
            return rows.new_zeros(()), rows.new_zeros(rows.shape[1]), rows.new_zeros(rows.shape[1])
        variance, mean = torch.var_mean(rows, dim=(0, 2), correction=0)
        return rows.new_tensor(float(count)), mean, variance * count
    number = weights.sum()
    mean = (rows * weights).sum(dim=(0, 2)) / number.clamp(min=1.0)
    return number, mean, ((rows - mean[:, None]).square_().mul_(weights)).sum(dim=(0, 2))


class _Normalize(torch.autograd.Function):
    """Rows with mean 0 and variance 1; it keeps its result alone, and reduces once over ranks in the backward pass."""

    @staticmethod
    def forward(ctx: Any, eps: float, weights: Sequence[Tensor | None], *rows: Tensor) -> tuple[Tensor, ...]:
        channels = [x.shape[1] for x in rows]
        parts = [_moments(x, w) for x, w in zip(rows, weights)]
        counts = torch.stack([count for count, _, _ in parts])
        sums = torch.cat([counts, *(count * mean for count, mean, _ in parts)])
        all_reduce(sums)
        sizes, *totals = sums.split([len(rows), *channels])
        sizes = sizes.clamp(min=1.0)
        means = [total / size for total, size in zip(totals, sizes)]
        about = [square + count * (own - mean).square() for (count, own, square), mean in zip(parts, means)]
        squares = torch.cat(about)
        all_reduce(squares)
        scales = [(total / size + eps).rsqrt() for total, size in zip(squares.split(channels), sizes)]
        results = tuple((x - mean[:, None]).mul_(scale[:, None]) for x, mean, scale in zip(rows, means, scales))
        ctx.save_for_backward(sizes, *scales, *results)
        ctx.weights = weights
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        number = len(gradients)
        sizes, scales = ctx.saved_tensors[0], ctx.saved_tensors[1 : 1 + number]
        results = ctx.saved_tensors[1 + number :]
        wanted = [index for index in range(number) if ctx.needs_input_grad[2 + index]]
        sums = [x.sum(dim=(0, 2)) for i in wanted for x in (gradients[i], gradients[i] * results[i])]
        total = torch.cat(sums)
        all_reduce(total)
        shared = total.split([len(x) for x in sums])
        found: list[Tensor | None] = [None] * number
        for place, i in enumerate(wanted):
            offset, slope = (x[:, None] / sizes[i] for x in shared[2 * place : 2 * place + 2])
            through = torch.addcmul(offset, results[i], slope)
            weight = ctx.weights[i]
            if weight is not None:
                through.mul_(weight)
            found[i] = (gradients[i] - through).mul_(scales[i][:, None])
        return (None, None, *found)


def normalize_channels(
    levels: Sequence[Tensor], valid: Sequence[Tensor | None], dim: int = 1, eps: float = 1e-5
) -> list[Tensor]:
    r"""Return features whose channels have mean 0 and variance 1 over the images of all ranks.

    .. math:: \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}}

    with the biased variance, as batch normalization without affine parameters and running statistics. The statistics
    have gradient, also from the losses of other ranks: the mean that DDP takes of the gradients of all ranks is then
    the gradient of the mean of their losses. Every rank must call it, in the backward pass too. The sums of all levels
    are reduced together.

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
    weights = [None if mask is None else position_weights(x, mask) for x, mask in zip(rows, valid)]
    whole = get_world_size() == 1 and all(mask is None for mask in valid)
    if whole and all(x.shape[0] * x.shape[2] > 1 for x in rows):
        # Nothing is shared or left out: PyTorch's kernel is faster.
        normalized = [F.batch_norm(x, None, None, training=True, eps=eps) for x in rows]
    else:
        normalized = list(_Normalize.apply(eps, weights, *rows))
    return [y.reshape(x.movedim(dim, 1).shape).movedim(1, dim) for x, y in zip(levels, normalized)]
