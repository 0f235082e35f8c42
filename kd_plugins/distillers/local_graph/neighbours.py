"""Nearest neighbours, searched in chunks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 2**21
"""Most numbers in a working tensor of the search, unless one point needs more."""


def _smallest(values: Tensor, number: int) -> Tensor:
    """Return where the ``number`` smallest entries of every row are, in any order.

    A row of n is folded into g columns. What belongs to the smallest K lies in the K columns with the smallest minima:
    every other column's minimum already has K entries below it. With g = sqrt(K n), two selections among g replace one
    among n.

    Args:
        values: (M, n).
        number: K, from 1 to n.
    """
    size = values.shape[1]
    columns = math.isqrt(number * size)
    if 4 * columns > size:
        return values.topk(number, dim=1, largest=False, sorted=False).indices
    depth = -(-size // columns)
    folded = F.pad(values, (0, depth * columns - size), value=math.inf).view(-1, depth, columns)
    best = folded.amin(dim=1).topk(number, dim=1, largest=False, sorted=False).indices
    candidates = folded.gather(2, best[:, None].expand(-1, depth, -1)).flatten(1)
    found = candidates.topk(number, dim=1, largest=False, sorted=False).indices
    return (found // number) * columns + best.gather(1, found % number)


@torch.no_grad()
def nearest_neighbours(queries: Tensor, points: Tensor, number: int, chunk: int = CHUNK) -> Tensor:
    """Return the nearest points of every query of the same sample by Euclidean distance, in any order.

    Args:
        queries: Of one sample (M, D), or of several (B, M, D).
        points: (n, D) or (B, n, D).
        number: K.
        chunk: Distances computed at a time; the M x n matrix exists only where it is not larger.

    Returns:
        Indices into ``points``, (M, min(K, n)) or (B, M, min(K, n)), int64. Ties fall either way.

    >>> nearest_neighbours(torch.tensor([[0.9]]), torch.tensor([[0.0], [1.0], [5.0]]), 1)
    tensor([[1]])
    """
    if queries.ndim == 2:
        return nearest_neighbours(queries[None], points[None], number, chunk)[0]
    (samples, many), size = queries.shape[:2], points.shape[1]
    number = min(number, size)
    if number == 0 or queries.shape[:2].numel() == 0:
        return torch.zeros(samples, many, number, dtype=torch.long, device=points.device)
    if samples > 1 and samples * many * size > chunk:
        return torch.cat([nearest_neighbours(*pair, number, chunk) for pair in zip(queries.split(1), points.split(1))])
    # |p|^2 - 2 q p orders the points as |q - p|^2 does; around the mean its terms cancel least.
    middle = points.mean(dim=1, keepdim=True)
    queries, points = queries - middle, points - middle
    squares = points.square().sum(dim=2)[:, None]
    rows = max(chunk // (samples * size), 1)
    found = []
    for part in queries.split(rows, dim=1):
        distances = torch.baddbmm(squares, part, points.mT, alpha=-2.0)
        found.append(_smallest(distances.flatten(0, 1), number).unflatten(0, part.shape[:2]))
    return torch.cat(found, dim=1)


def joint_space(features: Tensor, coordinates: Tensor) -> Tensor:
    """Return features and coordinates side by side, each scaled to the same mean squared distance from its mean.

    Args:
        features: Of one sample (n, C), or of several (B, n, C).
        coordinates: (n, D) or (B, n, D).

    Returns:
        (n, C + D) or (B, n, C + D).

    >>> joint_space(torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [7.0]]))
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    def scaled(x: Tensor) -> Tensor:
        count = max(x.shape[-2], 1)
        centered = x - x.sum(dim=-2, keepdim=True) / count
        size = (centered.square().sum(dim=(-2, -1), keepdim=True) / count).sqrt()
        # Equal points differ by rounding alone, which must not become a distance.
        noise = 1e-6 * x.abs().sum(dim=(-2, -1), keepdim=True) / count
        return torch.where(size > noise, centered / size.clamp(min=1e-12), 0.0)

    return torch.cat([scaled(features), scaled(coordinates.to(features.dtype))], dim=-1)
