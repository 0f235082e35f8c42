"""Attention of feature maps: at which positions and in which channels they are strong."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ...ops.reduction import to_float
from .map_sums import strength_sums


class Attention(NamedTuple):
    """Attention of the maps of N images, with a mean of 1 in both.

    Attributes:
        spatial: Attention of each position, (N, L), 0 on padding.
        channel: Attention of each channel, (N, C).
    """

    spatial: Tensor
    channel: Tensor


def position_count(inside: Tensor | None, strength: Tensor) -> Tensor:
    """Return the number of positions of each image that count, at least 1, shape (N,).

    Args:
        inside: Booleans (N, L), False on padding; None where all positions count.
        strength: A tensor (N, L).
    """
    if inside is None:
        return strength.new_full((len(strength),), max(strength.shape[1], 1))
    return inside.sum(dim=1).clamp(min=1).to(strength.dtype)


def attention_of_sums(
    strength: Tensor, magnitude: Tensor, temperature: float, inside: Tensor | None = None
) -> Attention:
    """Return the attention of :func:`attention` from the sums of magnitudes.

    Args:
        strength: Sums over the channels, (N, L).
        magnitude: Sums over the positions that count, (N, C).
        temperature: See :func:`attention`.
        inside: See :func:`attention`.
    """
    channels = max(magnitude.shape[1], 1)
    count = position_count(inside, strength)[:, None]
    logits = strength / (temperature * channels)
    if inside is not None:
        logits = logits.masked_fill(~inside, float('-inf'))
    return Attention(count * logits.softmax(dim=1), channels * (magnitude / (temperature * count)).softmax(dim=1))


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
        Both attentions in float32 (float64 for float64), without gradient.

    >>> import torch
    >>> attention(torch.tensor([[[0.0, 8.0], [0.0, -8.0]]]), temperature=0.5).spatial.round()
    tensor([[0., 2.]])
    """
    return attention_of_sums(*strength_sums(to_float(x), inside), temperature, inside)
