"""Channels of one network's maps, given the statistics that another network's channels have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .channel_statistics import varies
from .reduction import shared_sum, to_float


def _summed(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return vectors, summed over all ranks in one message."""
    return list(shared_sum(torch.cat(list(parts))).split([len(part) for part in parts]))


def channel_moments(maps: Sequence[Tensor], valid: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return mean and unbiased standard deviation of every channel, over the valid cells of all images and ranks.

    Gradients go through both, also from one rank to the images of another. Every rank must call it, and run its
    backward pass. Equal values have a deviation of exactly 0, as has a map with fewer than two valid cells.

    Args:
        maps: Shape (N, C, H, W) each.
        valid: Which cells count, shape (N, 1, H, W) each.

    Returns:
        A pair of shape (C,) each for every map, float32 (float64 for float64).

    >>> x = torch.tensor([1.0, 3.0, 100.0]).view(1, 1, 1, 3)
    >>> channel_moments([x], [x < 50])
    [(tensor([2.]), tensor([1.4142]))]
    """
    maps = [to_float(x) for x in maps]
    masks = [mask.to(x.dtype) for x, mask in zip(maps, valid)]
    dims = (0, 2, 3)
    # The last entry of each vector is the number of cells.
    sums = _summed([torch.cat([(x * mask).sum(dims), mask.sum()[None]]) for x, mask in zip(maps, masks)])
    counts = [total[-1].detach() for total in sums]
    means = [total[:-1] / count.clamp(min=1) for total, count in zip(sums, counts)]
    centered = [(x - mean[:, None, None]) * mask for x, mean, mask in zip(maps, means, masks)]
    variances = [
        total / (count - 1).clamp(min=1)
        for total, count in zip(_summed([x.square().sum(dims) for x in centered]), counts)
    ]
    return [(mean, _deviation(variance, mean)) for mean, variance in zip(means, variances)]


def _deviation(variance: Tensor, mean: Tensor) -> Tensor:
    """Return the standard deviation, 0 without gradient for equal values."""
    positive = varies(variance, mean)
    return torch.where(positive, variance, torch.ones_like(variance)).sqrt() * positive


def aligned_channels(
    student: Sequence[Tensor], teacher: Sequence[Tensor], valid: Sequence[Tensor], eps: float = 1e-6
) -> list[Tensor]:
    r"""Return the student's maps with the mean and deviation that the teacher's channels have (arXiv 2306.11369).

    .. math:: \frac{s - mean(s)}{std(s) + \epsilon} \, std(t) + mean(t)

    for each channel of each map, over the valid cells of all images and ranks. Gradients go through the student's
    statistics. A channel that is constant in the student becomes the teacher's mean, without gradient.

    Args:
        student: Shape (N, C, H, W) for each level.
        teacher: Maps of the same shapes; no gradient goes through them.
        valid: Which cells count, shape (N, 1, H, W) for each level.
        eps: Added to the student's deviation.

    Returns:
        The shapes of the student's maps, float32 (float64 for float64).

    >>> s, t = torch.tensor([0.0, 2.0]).view(1, 1, 1, 2), torch.tensor([10.0, 14.0]).view(1, 1, 1, 2)
    >>> aligned_channels([s], [t], [s >= 0])[0].flatten()
    tensor([10.0000, 14.0000])
    """
    moments = channel_moments([*student, *(x.detach() for x in teacher)], [*valid, *valid])
    aligned = []
    for x, (mean, std), (target_mean, target_std) in zip(student, moments, moments[len(student) :]):
        gain = target_std / (std + eps) * (std > 0)
        aligned.append((to_float(x) - mean[:, None, None]) * gain[:, None, None] + target_mean[:, None, None])
    return aligned
