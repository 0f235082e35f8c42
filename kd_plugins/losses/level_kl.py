"""Divergence of a network's levels from the level that teaches, from sums that can be taken part by part."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops.reduction import global_normalizer, to_float
from ..registry import MODELS
from .logit import softmax_kl


def level_kl_sums(
    students: Tensor,
    teacher: Tensor,
    weight: Tensor,
    temperature: float,
    include_background: bool = True,
    detach_teacher: bool = True,
) -> Tensor:
    r"""Return the weighted sum over positions of the divergence of every level from the level that teaches.

    .. math:: \sum_v w_v \, T^2 \, KL\big(softmax(t_v / T) \,\|\, softmax(s_v / T)\big)

    Args:
        students: Logits of K levels, (K, N, C, *spatial).
        teacher: Logits, (N, C, *spatial).
        weight: :math:`w`, (N, *spatial).
        temperature: :math:`T` > 0.
        include_background: Whether class 0 takes part; otherwise the softmax is over the other classes only.
        detach_teacher: Whether to stop the gradient to the teacher.

    Returns:
        Shape (K,), float32 (float64 for float64).

    >>> level_kl_sums(torch.zeros(1, 1, 2, 3), torch.tensor([[[0.0] * 3, [30.0] * 3]]), torch.ones(1, 3), 1.0)
    tensor([2.0794])
    """
    if not include_background:
        students, teacher = students[:, :, 1:], teacher[:, 1:]
    divergence = softmax_kl(students, teacher[None], temperature, dim=2, detach_teacher=detach_teacher)
    return (divergence * weight).flatten(1).sum(dim=1)


def level_kl(
    students: Tensor,
    teacher: Tensor,
    weight: Tensor | None = None,
    temperature: float = 3.0,
    include_background: bool = True,
    detach_teacher: bool = True,
) -> Tensor:
    """Return :func:`level_kl_sums` divided by the total weight of all ranks; every rank must call it.

    This is the divergence of DSD (IEEE ISBI 2024; soumbane/DualSelfDistillation, ``loss_functions.py``) with a weight
    for each position and, by default, without a gradient for the teacher.

    Args:
        students: Logits of K levels, (K, N, C, *spatial).
        teacher: Logits, (N, C, *spatial).
        weight: (N, *spatial); None gives all positions the weight 1.
        temperature: See :func:`level_kl_sums`.
        include_background: See :func:`level_kl_sums`.
        detach_teacher: See :func:`level_kl_sums`.

    Returns:
        Shape (K,).

    >>> level_kl(torch.zeros(1, 1, 2, 3), torch.tensor([[[0.0] * 3, [30.0] * 3]]), temperature=1.0)
    tensor([0.6931])
    """
    if weight is None:
        weight = to_float(teacher).new_ones(teacher.shape[0], *teacher.shape[2:])
    sums = level_kl_sums(students, teacher, weight, temperature, include_background, detach_teacher)
    return sums / global_normalizer(weight.sum(), minimum=1.0)


def uncertainty_weighted(losses: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return losses weighted by learned uncertainties, each bounded from below.

    .. math:: \frac{L_i}{2 \sigma_i^2} + \log(1 + \sigma_i^2), \quad \sigma_i^2 = e^{s_i} / 2

    (arXiv 1805.06334, after arXiv 1705.07115). At :math:`s_i = 0` the weight of :math:`L_i` is 1.

    Args:
        losses: :math:`L`, any shape, >= 0.
        log_variance: :math:`s` of the same shape.

    >>> uncertainty_weighted(torch.tensor([2.0]), torch.zeros(1)) - torch.tensor(1.5).log()
    tensor([2.])
    """
    variance = log_variance.exp() / 2
    return losses / (2 * variance) + torch.log1p(variance)


@MODELS.register_module()
class LevelKLLoss(nn.Module):
    """Module form of :func:`level_kl`, summed over the levels.

    Args:
        temperature: Softens both distributions.
        include_background: Whether class 0 takes part.
        detach_teacher: Whether to stop the gradient to the teacher.
    """

    def __init__(self, temperature: float = 3.0, include_background: bool = True, detach_teacher: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.include_background = include_background
        self.detach_teacher = detach_teacher

    def forward(self, students: Tensor, teacher: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss, shape (); arguments as in :func:`level_kl`."""
        options = self.temperature, self.include_background, self.detach_teacher
        return level_kl(students, teacher, weight, *options).sum()
