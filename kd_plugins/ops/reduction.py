"""Reduction of losses to one number that is the same for one process and for many ranks.

DDP averages gradients over ranks. A term whose numerator is the sum over this rank and whose normaliser is the *mean
over ranks* of the local normalisers therefore trains exactly like one process that holds the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor
from torch.autograd.function import once_differentiable


def to_float(x: Tensor) -> Tensor:
    """Return ``x`` in float32, or unchanged if it is float64.

    >>> to_float(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return x if x.dtype == torch.float64 else x.float()


def global_mean(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over all ranks, without gradient; every rank must call it.

    Args:
        value: Tensor of the same shape on every rank.

    >>> global_mean(torch.tensor(3.0))
    tensor(3.)
    """
    # `all_reduce` works in place and must not change the caller's tensor.
    mean = value.detach().clone()
    all_reduce(mean, op='mean')
    return mean


def sum_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of ``value`` over all ranks, with gradient; every rank must call it.

    It is for a loss that every rank computes from the same totals. The gradient to this rank's share is then as many
    times too large as there are ranks, which the mean of DDP takes back. No rank waits for another in the backward
    pass.

    Args:
        value: Tensor of the same shape on every rank.

    >>> sum_over_ranks(torch.tensor(3.0))
    tensor(3.)
    """
    ranks = get_world_size()
    if ranks == 1:
        return value
    total = value.detach().clone()
    all_reduce(total)
    return total + ranks * (value - value.detach())


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


def global_normalizer(value: Tensor, minimum: float) -> Tensor:
    """Return ``max(sum of value over all ranks, minimum) / number of ranks``; every rank must call it.

    The minimum bounds the total and not the mean, so that it does not depend on how the batch is split.

    Args:
        value: This rank's share, of shape ().
        minimum: Lower bound of the total, > 0.

    >>> global_normalizer(torch.tensor(0.25), minimum=1.0)
    tensor(1.)
    """
    return global_mean(value).clamp(min=minimum / get_world_size())


def weighted_mean(loss: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Return ``sum(loss * weight) / max(total weight, eps)``, the total taken over all ranks; every rank must call it.

    Args:
        loss: Unreduced loss of any shape.
        weight: Non-negative weights of the same shape; no gradient goes through them.
        eps: Lower bound of the total weight.

    Returns:
        Tensor of shape (), ``0 * sum`` where every weight is 0.

    >>> weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
    tensor(3.)
    >>> weighted_mean(torch.tensor([1.0, 4.0]), torch.zeros(2))
    tensor(0.)
    """
    weight = weight.detach().to(loss.dtype)
    return (loss * weight).sum() / global_normalizer(weight.sum(), eps)


def mean_over_images(values: Tensor) -> Tensor:
    """Return the mean over all images of all ranks; every rank must call it.

    Args:
        values: One value per image, shape (N,); ranks may hold different N, also 0.

    >>> mean_over_images(torch.tensor([1.0, 3.0]))
    tensor(2.)
    >>> mean_over_images(torch.zeros(0))
    tensor(0.)
    """
    return weighted_mean(values, torch.ones_like(values), eps=1.0)


def mean_per_image(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean over all dimensions but the first, 0 where an image has no values.

    Args:
        values: Shape (N, ...).
        valid: Booleans, shape (N, P), False at values, in row-major order, that do not count; None counts all.

    Returns:
        Shape (N,).

    >>> mean_per_image(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
    tensor([2., 2.])
    >>> mean_per_image(torch.tensor([[1.0, 3.0]]), torch.tensor([[True, False]]))
    tensor([1.])
    >>> mean_per_image(torch.zeros(2, 0))
    tensor([0., 0.])
    """
    rows = values.flatten(1) if values.ndim > 1 else values[:, None]
    if valid is None:
        return rows.sum(dim=1) / max(rows.shape[1], 1)
    return (rows * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)
