"""Varifocal loss of DETR-like detectors with a quality score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..ops.reduction import to_float
from ..registry import MODELS
from ..utils.checks import check_choice, check_number

REDUCTIONS = ('none', 'mean', 'sum')


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


@MODELS.register_module()
class VFLLoss(nn.Module):
    """:func:`varifocal` with the signature of MMDetection's ``QualityFocalLoss``.

    Args:
        use_sigmoid: Must be True; MMDetection's heads read it to determine the number of outputs.
        alpha: See :func:`varifocal`.
        gamma: See :func:`varifocal`.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: Factor of the result.

    Raises:
        ConfigError: If ``use_sigmoid`` is False or ``reduction`` is not known.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if use_sigmoid is not True:
            raise ConfigError(
                f'VFLLoss.use_sigmoid is {use_sigmoid!r}, and VFLLoss has one sigmoid per class; valid: True'
            )
        self.use_sigmoid = use_sigmoid
        self.alpha = check_number('VFLLoss.alpha', alpha, positive=False, example=0.75)
        self.gamma = check_number('VFLLoss.gamma', gamma, positive=False, example=2.0)
        self.reduction = check_choice('VFLLoss.reduction', reduction, REDUCTIONS)
        self.loss_weight = check_number('VFLLoss.loss_weight', loss_weight, positive=False)

    def forward(
        self,
        pred: Tensor,
        target: tuple[Tensor, Tensor],
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the loss of the queries, reduced.

        Args:
            pred: Logits, shape (n, C).
            target: Labels in [0, C] and quality scores, shape (n,) each.
            weight: Weight of each query, shape (n,).
            avg_factor: Divisor of the sum for ``'mean'``, in place of n.
            reduction_override: Replaces ``reduction``.

        Returns:
            Shape (n,) for ``'none'``, else ().

        Raises:
            ConfigError: If the reduction is not known, or ``avg_factor`` is given with ``'sum'``.
        """
        reduction = reduction_override or self.reduction
        check_choice('reduction_override', reduction, REDUCTIONS)
        if reduction == 'sum' and avg_factor is not None:
            raise ConfigError("reduction is 'sum', which takes no avg_factor; nearest: 'mean'")
        labels, quality = target
        loss = self.loss_weight * varifocal(pred, quality, labels, self.alpha, self.gamma)
        if weight is not None:
            loss = loss * weight.to(loss.dtype)
        if reduction == 'none':
            return loss
        if reduction == 'sum':
            return loss.sum()
        return loss.sum() / (max(loss.numel(), 1) if avg_factor is None else avg_factor)
