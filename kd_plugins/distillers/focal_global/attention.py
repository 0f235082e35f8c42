"""Attention of feature maps: at which positions and in which channels they are strong."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ...ops.reduction import to_float


class Attention(NamedTuple):
    """Attention of the maps of N images, with a mean of 1 in both.

    Attributes:
        spatial: Attention of each position, (N, L), 0 on padding.
        channel: Attention of each channel, (N, C).
    """

    spatial: Tensor
    channel: Tensor


def position_count(inside: Tensor | None, x: Tensor) -> Tensor:
    """Return the number of positions of each image that count, at least 1, shape (N,).

    Args:
        inside: Booleans (N, L), False on padding; None where all positions count.
        x: Maps (N, C, L).
    """
    if inside is None:
        return x.new_full((len(x),), max(x.shape[2], 1))
    return inside.sum(dim=1).clamp(min=1).to(x.dtype)


def mean_over_positions(x: Tensor, inside: Tensor | None) -> Tensor:
    """Return the mean of each channel over the positions that count, shape (N, C).

    Args:
        x: Maps (N, C, L).
        inside: See :func:`position_count`.

    >>> mean_over_positions(torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    total = x.sum(dim=2) if inside is None else (x * inside[:, None]).sum(dim=2)
    return total / position_count(inside, x)[:, None]


def attention(x: Tensor, temperature: float, inside: Tensor | None = None) -> Attention:
    r"""Return the attention of feature maps (FGD, arXiv 2111.11837, eq. 3 to 6).

    .. math::

        A^S_i = L \, \mathrm{softmax}_i\Big(\frac{1}{T C} \sum_c |x_{ci}|\Big), \quad
        A^C_c = C \, \mathrm{softmax}_c\Big(\frac{1}{T L} \sum_i |x_{ci}|\Big)

    where L is the number of positions that count.

    Args:
        x: Maps with their positions in one dimension, (N, C, L).
        temperature: :math:`T` > 0.
        inside: Booleans (N, L), False on padding; None where all positions count.

    Returns:
        Both attentions in float32 (float64 for float64), with the gradient of ``x``.

    >>> attention(torch.tensor([[[0.0, 8.0], [0.0, -8.0]]]), temperature=0.5).spatial.round()
    tensor([[0., 2.]])
    """
    magnitude = to_float(x).abs()
    strength = magnitude.mean(dim=1) / temperature
    if inside is not None:
        strength = strength.masked_fill(~inside, float('-inf'))
    spatial = position_count(inside, magnitude)[:, None] * strength.softmax(dim=1)
    channel = x.shape[1] * (mean_over_positions(magnitude, inside) / temperature).softmax(dim=1)
    return Attention(spatial, channel)
