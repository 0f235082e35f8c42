"""Graphs of important points and their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .neighbours import nearest_neighbours
from .selection import top_points


class LocalGraph(NamedTuple):
    """The graphs of B samples that have equally many points.

    Indices count the points of all samples, so that several such groups refer to one set of points.
    """

    centers: Tensor
    """Indices of the selected points, (B, N)."""
    neighbours: Tensor
    """Indices of their neighbours, (B, N, K)."""
    weights: Tensor
    """Weight of each selected point, (B, N)."""


@torch.no_grad()
def build_graph(
    space: Tensor,
    importance: Tensor,
    num_points: int,
    num_neighbours: int,
    weigh: Callable[[Tensor], Tensor],
    first: int = 0,
) -> LocalGraph:
    """Return the graphs of samples with equally many points.

    Args:
        space: Coordinates in the space of the neighbour search, (B, n, D).
        importance: Importance of each point, (B, n).
        num_points: N; at most n points are selected.
        num_neighbours: K; at most n neighbours are used. With 1, the neighbour is the point itself.
        weigh: Function from the importance of the selected points, (B, N), to their weights, (B, N).
        first: Index of the first point of these samples among the points of all samples.

    >>> space, importance = torch.tensor([[[0.0], [0.1], [5.0]]]), torch.tensor([[1.0, 3.0, 2.0]])
    >>> graph = build_graph(space, importance, 1, 2, lambda chosen: chosen.softmax(dim=1), first=10)
    >>> graph.centers.tolist(), sorted(graph.neighbours.flatten().tolist()), graph.weights.tolist()
    ([[11]], [10, 11], [[1.0]])
    """
    count, size = importance.shape
    rows = first + size * torch.arange(count, device=importance.device)[:, None]
    centers = top_points(importance, num_points)
    if num_neighbours == 1:
        neighbours = centers[:, :, None]
    else:
        queries = space.take_along_dim(centers[:, :, None], dim=1)
        neighbours = nearest_neighbours(queries, space, num_neighbours)
    weights = weigh(importance.take_along_dim(centers, dim=1))
    return LocalGraph(centers + rows, neighbours + rows[:, :, None], weights)
