"""Search for nearest neighbours, in chunks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 2**21
"""Largest number of elements of a working tensor of the search, unless one point needs more."""


def _smallest(values: Tensor, number: int) -> Tensor:
    """Return the indices of the ``number`` smallest entries of every row, in any order.

    A row of n entries is folded into g columns. The K smallest entries lie in the K columns with the smallest minima,
    since the minimum of any other column has K smaller entries already. With g = sqrt(K n), two selections among g
    replace one selection among n.

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
    chosen = candidates.topk(number, dim=1, largest=False, sorted=False).indices
    return (chosen // number) * columns + best.gather(1, chosen % number)


@torch.no_grad()
def nearest_neighbours(queries: Tensor, points: Tensor, number: int, chunk: int = CHUNK) -> Tensor:
    """Return the nearest points of every query of the same sample by Euclidean distance, in any order.

    Args:
        queries: Coordinates of the queries of one sample (M, D), or of several (B, M, D).
        points: Coordinates of the points, (n, D) or (B, n, D).
        number: K.
        chunk: Number of distances computed at a time.

    Returns:
        Indices into ``points``, (M, min(K, n)) or (B, M, min(K, n)), int64. Ties are broken arbitrarily.

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
    # |p|^2 - 2 q p orders the points as |q - p|^2 does. Coordinates relative to the mean lose the fewest digits.
    middle = points.mean(dim=1, keepdim=True)
    queries, points = queries - middle, points - middle
    squares = points.square().sum(dim=2)[:, None]
    rows = max(chunk // (samples * size), 1)
    indices = []
    for part in queries.split(rows, dim=1):
        distances = torch.baddbmm(squares, part, points.mT, alpha=-2.0)
        indices.append(_smallest(distances.flatten(0, 1), number).unflatten(0, part.shape[:2]))
    return torch.cat(indices, dim=1)


def joint_space(features: Tensor, coordinates: Tensor) -> Tensor:
    """Return features and coordinates side by side, each scaled to the same mean squared distance from its mean.

    Args:
        features: Features of one sample (n, C), or of several (B, n, C).
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
        # Rounding errors between equal points must not become distances.
        noise = 1e-6 * x.abs().sum(dim=(-2, -1), keepdim=True) / count
        return torch.where(size > noise, centered / size.clamp(min=1e-12), 0.0)

    return torch.cat([scaled(features), scaled(coordinates.to(features.dtype))], dim=-1)
