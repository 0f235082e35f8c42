r"""Sums and distances over the edges of a graph, without a tensor of all edges.

An edge function that begins with a linear map of (neighbour, centre) splits into a term per neighbour and a term per
centre, :math:`W (x_j, x_i) = W_1 x_j + W_2 x_i`. The terms ``values`` (n, C) and ``centers`` (N, C) come from
:class:`~kd_plugins.distillers.local_graph.EdgeAdapter`; edge (i, k) has the value
``values[neighbours[i, k]] + centers[i]``. Sums over edges are computed from the terms. Where a nonlinearity requires
the edges themselves, they are computed a chunk at a time, and again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...ops.reduction import shared_sum

CHUNK = 2**20
"""Largest number of elements of a working tensor on edges, unless the edges of one point need more."""


class _NeighbourSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, neighbours: Tensor, chunk: int) -> Tensor:
        ctx.save_for_backward(neighbours)
        ctx.shape, ctx.chunk = values.shape, chunk
        return F.embedding_bag(neighbours, values, mode='sum')

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (neighbours,) = ctx.saved_tensors
        to_values = grad.new_zeros(ctx.shape)
        size = neighbours.shape[1]
        rows = max(ctx.chunk // (size * grad.shape[1]), 1)
        for part, indices in zip(grad.split(rows), neighbours.split(rows)):
            to_values.index_add_(0, indices.flatten(), part[:, None].expand(-1, size, -1).flatten(0, 1))
        return to_values, None, None


def neighbour_sum(values: Tensor, neighbours: Tensor, chunk: int = CHUNK) -> Tensor:
    """Return the sum over each point's neighbours.

    Args:
        values: (n, C).
        neighbours: Indices into ``values``, (N, K).
        chunk: See :data:`CHUNK`.

    Returns:
        (N, C).

    >>> neighbour_sum(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0, 2], [1, 1]])).flatten()
    tensor([5., 4.])
    """
    if neighbours.numel() == 0:
        return values.new_zeros(neighbours.shape[0], values.shape[1]) + values.sum() * 0
    sums: Tensor = _NeighbourSum.apply(values, neighbours, chunk)
    return sums


def edge_statistics(
    values: Tensor, centers: Tensor, neighbours: Sequence[Tensor], chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of the edges' values over all ranks; every rank must call it.

    They are the statistics that BatchNorm would compute on the tensor of all edges. Gradients flow through both, also
    to other ranks.

    Args:
        values: Neighbour terms, (n, C).
        centers: Centre terms of the points of all groups, (N, C).
        neighbours: Groups of points with equally many neighbours, (N', K') each.
        chunk: See :data:`CHUNK`.

    Returns:
        Both (C,); 0 where there is no edge.

    >>> edge_statistics(torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0]]), [torch.tensor([[0, 1]])])
    (tensor([12.]), tensor([1.]))
    """
    edges = values.new_full((1,), float(sum(group.numel() for group in neighbours)))
    degree = values.new_zeros(values.shape[0])
    for group in neighbours:
        degree.index_add_(0, group.flatten(), values.new_ones(1).expand(group.numel()))
    groups = list(zip(centers.split([len(group) for group in neighbours]), neighbours))
    # Each term is centred on its own mean, so that no large constant is squared.
    from_centers = torch.stack([group.shape[1] * part.sum(dim=0) for part, group in groups]).sum(dim=0)
    # Sums of many rows: a product with a matrix may add them one by one, and so lose three of seven digits.
    total = shared_sum(torch.cat([(degree[:, None] * values).sum(dim=0), from_centers, edges]))
    count = total[-1].clamp(min=1.0)
    mean_values, mean_centers = (total[:-1] / count).chunk(2)
    x = values - mean_values
    squares = [(degree[:, None] * x.square()).sum(dim=0)]
    for part, group in groups:
        y = part - mean_centers
        squares.append((y * (2.0 * neighbour_sum(x, group, chunk) + group.shape[1] * y)).sum(dim=0))
    variance = shared_sum(torch.stack(squares).sum(dim=0)) / count
    return mean_values + mean_centers, variance.clamp(min=0.0)


def edge_outputs(values: Tensor, centers: Tensor, neighbours: Tensor) -> Tensor:
    """Return ``relu(values[neighbours] + centers)`` of every edge; call it for a few points at a time.

    Args:
        values: Neighbour terms, (n, C).
        centers: Centre terms, (N, C).
        neighbours: Indices into ``values``, (N, K).

    Returns:
        (N, K, C).
    """
    edges = values.index_select(0, neighbours.flatten()).view(*neighbours.shape, values.shape[1])
    return edges.add_(centers[:, None]).relu_()


class _EdgeGap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, centers: Tensor, neighbours: Tensor, chunk: int) -> Tensor:
        ctx.save_for_backward(values, centers, neighbours)
        ctx.rows = max(chunk // (neighbours.shape[1] * values.shape[1]), 1)
        gaps = []
        for part, indices in zip(centers.split(ctx.rows), neighbours.split(ctx.rows)):
            first, second = edge_outputs(values, part, indices).chunk(2, dim=2)
            gaps.append(first.sub_(second).square_().mean(dim=(1, 2)))
        return torch.cat(gaps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        values, centers, neighbours = ctx.saved_tensors
        scale = grad * (2.0 / (neighbours.shape[1] * values.shape[1] / 2))
        to_values, to_centers = torch.zeros_like(values), []
        parts = zip(scale.split(ctx.rows), centers.split(ctx.rows), neighbours.split(ctx.rows))
        for factor, part, indices in parts:
            edges = edge_outputs(values, part, indices)
            first, second = edges.chunk(2, dim=2)
            difference = (first - second).mul_(factor[:, None, None])
            # In place, the edges become their gradient: the derivative of the ReLU, 1 or 0, times the rest.
            edges.sign_()
            first.mul_(difference)
            second.mul_(difference.neg_())
            to_centers.append(edges.sum(dim=1))
            to_values.index_add_(0, indices.flatten(), edges.flatten(0, 1))
        return to_values, torch.cat(to_centers), None, None


def edge_gap(values: Tensor, centers: Tensor, neighbours: Tensor, chunk: int = CHUNK) -> Tensor:
    r"""Return the mean squared difference of the two halves of the channels after a ReLU, over each point's edges.

    .. math:: g_i = \frac{1}{K C'} \sum_{k, c} \big(relu(t_{ikc}) - relu(s_{ikc})\big)^2

    Args:
        values: Teacher's and student's neighbour terms side by side, (n, 2 C').
        centers: Their centre terms, (N, 2 C').
        neighbours: (N, K).
        chunk: See :data:`CHUNK`.

    Returns:
        :math:`g`, (N,).

    >>> edge_gap(torch.tensor([[1.0, 0.0], [-1.0, 2.0]]), torch.zeros(1, 2), torch.tensor([[0, 1]]))
    tensor([2.5000])
    """
    if neighbours.numel() == 0:
        return (centers.sum(dim=1) + values.sum()) * 0
    gaps: Tensor = _EdgeGap.apply(values, centers, neighbours, chunk)
    return gaps


def pooled_gap(values: Tensor, centers: Tensor, neighbours: Tensor) -> Tensor:
    """Return :func:`edge_gap` of the channels' maxima over the edges of each point, (N,).

    >>> pooled_gap(torch.tensor([[1.0, 0.0], [-1.0, 2.0]]), torch.zeros(1, 2), torch.tensor([[0, 1]]))
    tensor([1.])
    """
    if neighbours.numel() == 0:
        return (centers.sum(dim=1) + values.sum()) * 0
    # The centre's term and the ReLU preserve the order of the neighbours, so they can follow the maximum.
    first, second = (F.embedding_bag(neighbours, values, mode='max') + centers).relu().chunk(2, dim=1)
    return (first - second).square().mean(dim=1)
