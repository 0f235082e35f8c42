"""Pearson correlation of feature channels (PKD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..ops.channel_statistics import channel_rows, position_weights, varies
from ..ops.reduction import mean_over_images, shared_sum
from ..registry import MODELS
from ..utils.checks import check_choice

STATISTICS = ('batch', 'image')
EPS = 1e-6
"""Added to the standard deviation; a channel with a smaller one is constant."""

Moments = tuple[Tensor, Tensor, Tensor]
"""Sums of the centred products and of the squares of student and teacher, each of shape (..., C)."""


def _centred(rows: Tensor, weights: Tensor, means: Tensor) -> Tensor:
    return (rows - means[..., None]) * weights


def _products(student: Tensor, teacher: Tensor, dims: list[int]) -> Moments:
    sums = [(student * teacher).sum(dims), student.square().sum(dims), teacher.square().sum(dims)]
    return sums[0], sums[1], sums[2]


def _distance(count: Tensor, moments: Moments, means: Sequence[Tensor]) -> Tensor:
    """Return half the mean squared difference of the standardized features of each channel."""
    product, *squares = moments
    scales = []
    for square, mean in zip(squares, means):
        variance = square / (count - 1.0).clamp(min=1.0)
        counted = varies(variance, mean, EPS**2)
        # A safe root comes first: also the gradient of the value that `where` discards must be finite.
        scales.append(torch.where(counted, 1.0 / (torch.where(counted, variance, 1.0).sqrt() + EPS), 0.0))
    standardized = sum(square * scale.square() for square, scale in zip(squares, scales))
    return (standardized - 2.0 * product * scales[0] * scales[1]) / (2.0 * count.clamp(min=1.0))


def _batch_distance(rows: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Return the mean over levels of the distance with the statistics of all ranks, shape ()."""
    channels = [student.shape[1] for student, _, _ in rows]
    with torch.no_grad():
        sums = [(x * w).sum(dim=(0, 2)) for student, teacher, w in rows for x in (student, teacher)]
        counts = torch.stack([w.sum() for _, _, w in rows])
        totals = shared_sum(torch.cat([counts, *sums])).split([len(rows), *(c for c in channels for _ in range(2))])
        sizes, sums = totals[0], list(totals[1:])
        means = [total / size.clamp(min=1.0) for total, size in zip(sums, sizes.repeat_interleave(2))]
    # Sums of products of centred features do not change with the means to first order, so the means need no gradient.
    moments = [
        torch.stack(_products(_centred(s, w, means[2 * level]), _centred(t, w, means[2 * level + 1]), [0, 2]))
        for level, (s, t, w) in enumerate(rows)
    ]
    shared = shared_sum(torch.cat(moments, dim=1)).split(channels, dim=1)
    distances = [
        _distance(size, (x[0], x[1], x[2]), means[2 * level : 2 * level + 2]).mean()
        for level, (size, x) in enumerate(zip(sizes, shared))
    ]
    return torch.stack(distances).mean()


def _image_distance(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Return the distance of each image with its own statistics, shape (N,)."""
    count = weights.sum(dim=2)
    size = count.clamp(min=1.0)
    means = [(x * weights).sum(dim=2) / size for x in (student, teacher)]
    s, t = (_centred(x, weights, mean) for x, mean in zip((student, teacher), means))
    return _distance(count, _products(s, t, [2]), means).mean(dim=1)


def pearson_distance(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    valid: Sequence[Tensor | None] | None = None,
    stats: str = 'batch',
    dim: int = 1,
) -> Tensor:
    r"""Return the distance of standardized channels (PKD, arXiv 2207.02039), averaged over the levels.

    .. math:: \frac{1}{2 m C} \sum_c \sum_i \left( \frac{s_{ci} - \mu^s_c}{\sigma^s_c + \epsilon}
        - \frac{t_{ci} - \mu^t_c}{\sigma^t_c + \epsilon} \right)^2 \approx \frac{m - 1}{m} \big( 1 - \mathrm{mean}_c
        \, \rho(s_c, t_c) \big)

    with the m positions i of channel c, the unbiased standard deviation :math:`\sigma`, :math:`\epsilon = 10^{-6}` and
    Pearson's correlation :math:`\rho`. Offset and scale of a channel change nothing. A channel without a spread is
    standardized to 0 and has no gradient.

    With ``stats='batch'`` the positions are those of all images of all ranks, and every rank must call it. The release
    uses those of one rank, and those on padding as well.

    Args:
        student: Features of each level, (N, C), (N, C, *spatial) or with the channels in ``dim``.
        teacher: Features of the same shapes; no gradient goes through them.
        valid: For each level, booleans of shape (N, P) over its P positions in row-major order, False at positions that
            do not count, or None. None counts all of all levels.
        stats: ``'batch'``, or ``'image'``: statistics of each image, then the mean over the images of all ranks.
        dim: Dimension of the channels.

    Returns:
        Shape (), in [0, 2], float32 (float64 for float64).

    Raises:
        ConfigError: If ``stats`` is neither.

    >>> x = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> pearson_distance([x], [5.0 * x + 1.0]).abs() < 1e-6, pearson_distance([x], [-x]).round(decimals=4)
    (tensor(True), tensor(1.3333))
    """
    check_choice('stats', stats, STATISTICS)
    masks = [None] * len(student) if valid is None else valid
    rows = [(channel_rows(s, dim), channel_rows(t.detach(), dim)) for s, t in zip(student, teacher)]
    weighted = [(s, t, position_weights(s, mask)) for (s, t), mask in zip(rows, masks)]
    if stats == 'batch':
        return _batch_distance(weighted)
    return mean_over_images(torch.stack([_image_distance(*level) for level in weighted]).mean(dim=0))


@MODELS.register_module()
class PearsonFeatureLoss(nn.Module):
    """Module form of :func:`pearson_distance`.

    Args:
        stats: ``'batch'`` or ``'image'``.
        channel_dim: Dimension of the channels.

    Raises:
        ConfigError: If ``stats`` is neither.
    """

    def __init__(self, stats: str = 'batch', channel_dim: int = 1) -> None:
        super().__init__()
        self.stats = check_choice('stats', stats, STATISTICS)
        self.channel_dim = channel_dim

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        valid: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """See :func:`pearson_distance`."""
        return pearson_distance(student, teacher, valid, self.stats, self.channel_dim)
