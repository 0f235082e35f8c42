"""Distance between the student's maps and the instructive maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...ops.map_norm import normalized_channels
from ...ops.reduction import to_float, weighted_mean
from ...utils.checks import check_choice

BALANCES = ('pixels', 'levels')
"""Weightings of the levels of a pyramid, see :func:`label_guided_distance`."""


def label_guided_distance(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    valid: Sequence[Tensor | None] | None = None,
    balance: str = 'pixels',
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the squared difference of instance-normalised maps (LGD, arXiv 2109.11496).

    .. math:: \frac{1}{C \sum_l |P_l|} \sum_l \sum_{p \in P_l} \sum_c
        \big( IN(s_l)_{cp} - IN(t_l)_{cp} \big)^2

    for each image, over the cells :math:`P_l` of each level that lie on it, and then the mean over the images of all
    ranks. IN has no affine parameters, and its statistics are those of the same cells. A level with fewer than two
    such cells does not count. With ``balance='levels'`` it is the mean over the levels of the mean over their cells,
    so that the finest level, which has three quarters of the cells, does not outweigh the others.

    Args:
        student: Maps :math:`s_l` of each level, (N, C, H, W).
        teacher: Maps :math:`t_l` of the same shapes; no gradient goes through them.
        valid: For each level, booleans of shape (N, 1, H, W), False on padding; or None. None counts all of all levels.
        balance: ``'pixels'`` or ``'levels'``.
        weight: Weight of each image >= 0, shape (N,); None is 1 for all.

    Returns:
        Shape (), float32 (float64 for float64).

    Raises:
        ConfigError: If ``balance`` is neither.

    >>> x = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    >>> label_guided_distance([x], [5 * x]).round(decimals=4), label_guided_distance([x], [-x]).round(decimals=2)
    (tensor(0.), tensor(4.))
    """
    check_choice('balance', balance, BALANCES)
    squares, counts = [], []
    masks = [None] * len(student) if valid is None else valid
    for s, t, mask in zip(student, teacher, masks):
        gap = normalized_channels(to_float(s), mask) - normalized_channels(to_float(t.detach()), mask)
        cells = gap.new_full((len(gap),), float(gap.shape[2] * gap.shape[3]))
        if mask is not None:
            cells = mask.to(gap.dtype).sum(dim=(1, 2, 3))
        counts.append(cells * (cells > 1))
        squares.append(gap.square().sum(dim=(1, 2, 3)) / gap.shape[1])
    square, count = torch.stack(squares), torch.stack(counts)
    if balance == 'levels':
        values = (square / count.clamp(min=1.0)).sum(dim=0) / (count > 0).sum(dim=0).clamp(min=1)
    else:
        values = square.sum(dim=0) / count.sum(dim=0).clamp(min=1.0)
    return weighted_mean(values, torch.ones_like(values) if weight is None else weight, eps=1.0)
