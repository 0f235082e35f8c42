"""Matchability-aware loss of DETR-like detectors with a quality score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.reduction import to_float


def matchability_aware(
    logits: Tensor, quality: Tensor, labels: Tensor, alpha: float = 1.0, gamma: float = 1.5
) -> Tensor:
    r"""Return the matchability-aware loss (MAL) of every query, summed over classes.

    .. math::
        BCE(\sigma(z_y), q^\gamma) + \sum_{c \ne y} \alpha \, sg(\sigma(z_c))^\gamma \, BCE(\sigma(z_c), 0)

    Source: DEIM (arXiv 2412.04234, eq. 3), with the stop-gradient sg and the factor :math:`\alpha` of its code
    (ShihuaHuang95/DEIM, ``engine/deim/deim_criterion.py``). In :func:`varifocal`, the entry of the label has the weight
    :math:`q`, so a match of low quality hardly counts; here it counts in full and learns a low score.

    Args:
        logits: :math:`z`, shape (..., C).
        quality: :math:`q` of each query as in :func:`varifocal`, without gradient.
        labels: :math:`y`, likewise.
        alpha: Weight of the entries that are not the label.
        gamma: Exponent of quality and modulating factor, >= 0.

    Returns:
        Shape (...), float32 (float64 for float64).

    >>> matchability_aware(torch.zeros(2, 1), torch.tensor([0.0, 0.0]), torch.tensor([0, 1]), gamma=1.0)
    tensor([0.6931, 0.3466])
    """
    logits = to_float(logits)
    is_label = labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)
    score = quality.detach().to(logits.dtype).pow(gamma)[..., None]
    target = torch.where(is_label, score, 0)
    factor = torch.where(is_label, 1, alpha * logits.detach().sigmoid().pow(gamma))
    return (factor * F.binary_cross_entropy_with_logits(logits, target, reduction='none')).sum(dim=-1)
