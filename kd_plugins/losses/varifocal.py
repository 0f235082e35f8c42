"""Varifocal loss of DETR-like detectors with a quality score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.reduction import to_float


def varifocal(logits: Tensor, quality: Tensor, labels: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    r"""Return the varifocal loss of every query, summed over classes.

    .. math::
        q \, BCE(\sigma(z_y), q) + \sum_{c \ne y} \alpha \, sg(\sigma(z_c))^\gamma \, BCE(\sigma(z_c), 0)

    (arXiv 2008.13367, eq. 2, with the stop-gradient sg that RT-DETR and D-FINE put around the modulating factor). The
    entry of the label keeps its weight :math:`q` even if it is 0: a match without overlap has no loss at its label.

    Args:
        logits: :math:`z`, shape (..., C).
        quality: :math:`q`, the IoU of each matched query, in [0, 1], shape (...); ignored for background, no gradient
            goes through it.
        labels: :math:`y` in [0, C], int64, shape (...); C is the background.
        alpha: Weight of the entries that are not the label.
        gamma: Exponent of their modulating factor, >= 0.

    Returns:
        Shape (...), float32 (float64 for float64).

    >>> varifocal(torch.zeros(2, 1), torch.tensor([0.5, 0.0]), torch.tensor([0, 1]))
    tensor([0.3466, 0.1300])
    """
    logits = to_float(logits)
    is_label = labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)
    score = quality.detach().to(logits.dtype)[..., None]
    target = torch.where(is_label, score, 0)
    weight = torch.where(is_label, score, alpha * logits.detach().sigmoid().pow(gamma))
    return (F.binary_cross_entropy_with_logits(logits, target, reduction='none') * weight).sum(dim=-1)
