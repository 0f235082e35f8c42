"""Class losses with a quality score, which MMDetection's plain heads and the heads with FDR take as ``loss_cls``."""

from __future__ import annotations

from mmdet.models.losses import QualityFocalLoss
from torch import Tensor

from ...errors import ConfigError
from ...losses import matchability_aware, varifocal
from ...registry import MODELS
from ...utils.checks import check_choice, check_number

REDUCTIONS = ('none', 'mean', 'sum')


@MODELS.register_module()
class VFLLoss(QualityFocalLoss):
    """Module form of :func:`~kd_plugins.losses.varifocal`.

    It is a ``QualityFocalLoss``, because MMDetection's DETR heads compute quality scores for that class alone.

    Args:
        use_sigmoid: Must be True; MMDetection's heads read it to determine the number of outputs.
        alpha: See :func:`~kd_plugins.losses.varifocal`.
        gamma: See :func:`~kd_plugins.losses.varifocal`.
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
        name = type(self).__name__
        if use_sigmoid is not True:
            raise ConfigError(
                f'{name}.use_sigmoid is {use_sigmoid!r}, and {name} has one sigmoid per class; valid: True'
            )
        check_choice(f'{name}.reduction', reduction, REDUCTIONS)
        check_number(f'{name}.loss_weight', loss_weight, positive=False)
        super().__init__(reduction=reduction, loss_weight=loss_weight)
        self.alpha = check_number(f'{name}.alpha', alpha, positive=False, example=0.75)
        self.gamma = check_number(f'{name}.gamma', gamma, positive=False, example=2.0)

    def of_queries(self, logits: Tensor, quality: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each query, shape (n,)."""
        return varifocal(logits, quality, labels, self.alpha, self.gamma)

    def forward(
        self,
        pred: Tensor,
        target: tuple[Tensor, Tensor] | Tensor,
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
            ConfigError: If the head gives no quality scores, the reduction is not known, or ``avg_factor`` is given
                with ``'sum'``.
        """
        if isinstance(target, Tensor):
            raise ConfigError(
                f"loss_cls.type is '{type(self).__name__}', and this head gives it labels without quality scores; "
                "nearest: 'FocalLoss'"
            )
        reduction = reduction_override or self.reduction
        check_choice('reduction_override', reduction, REDUCTIONS)
        if reduction == 'sum' and avg_factor is not None:
            raise ConfigError("reduction is 'sum', which takes no avg_factor; nearest: 'mean'")
        labels, quality = target
        loss = self.loss_weight * self.of_queries(pred, quality, labels)
        if weight is not None:
            loss = loss * weight.to(loss.dtype)
        if reduction == 'none':
            return loss
        if reduction == 'sum':
            return loss.sum()
        return loss.sum() / (max(loss.numel(), 1) if avg_factor is None else avg_factor)


@MODELS.register_module()
class MALLoss(VFLLoss):
    """Module form of :func:`~kd_plugins.losses.matchability_aware`, the class loss of DEIM (arXiv 2412.04234).

    Args:
        use_sigmoid: See :class:`VFLLoss`.
        alpha: See :func:`~kd_plugins.losses.matchability_aware`.
        gamma: See :func:`~kd_plugins.losses.matchability_aware`.
        reduction: See :class:`VFLLoss`.
        loss_weight: Factor of the result.

    Raises:
        ConfigError: As :class:`VFLLoss`.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 1.0,
        gamma: float = 1.5,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(use_sigmoid, alpha, gamma, reduction, loss_weight)

    def of_queries(self, logits: Tensor, quality: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each query, shape (n,)."""
        return matchability_aware(logits, quality, labels, self.alpha, self.gamma)
