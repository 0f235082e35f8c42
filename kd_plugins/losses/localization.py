"""Localization distillation: the teacher's distribution over the position of each box edge (arXiv 2102.12252)."""

from __future__ import annotations

from torch import Tensor, nn

from ..ops.reduction import to_float, weighted_mean
from ..registry import MODELS


def edge_distribution_kl(student: Tensor, teacher: Tensor, temperature: float, detach_teacher: bool = True) -> Tensor:
    r"""Return the KL divergence of every edge's distribution.

    .. math:: T^2 \sum_i p_i (\log p_i - \log q_i), \quad p = softmax(t / T), \quad q = softmax(s / T)

    (arXiv 2102.12252, section 3.2). :math:`T^2` keeps the size of the gradient independent of the temperature.

    Args:
        student: Logits, shape (..., bins), usually (K, 4, bins).
        teacher: Logits of the same shape, or of one that broadcasts to it.
        temperature: :math:`T` > 0.
        detach_teacher: Whether to stop the gradient to the teacher.

    Returns:
        Shape (...), float32 (float64 for float64), summed over the bins.

    >>> import torch
    >>> edge_distribution_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 30.0]]), temperature=1.0)
    tensor([0.6931])
    """
    log_q = (to_float(student) / temperature).log_softmax(dim=-1)
    target = teacher.detach() if detach_teacher else teacher
    log_p = (to_float(target) / temperature).log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1) * temperature**2


def localization_loss(student: Tensor, teacher: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """Return the weighted mean of :func:`edge_distribution_kl` over the locations of all ranks.

    Args:
        student: Logits, shape (..., 4, bins).
        teacher: Logits of the same shape.
        weight: Weight of each location, shape (...), >= 0.
        temperature: See :func:`edge_distribution_kl`.

    Returns:
        Shape (): mean over the four edges, weighted mean over locations; ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> student, teacher = torch.zeros(2, 4, 3), torch.tensor([50.0, 0.0, 0.0]).expand(2, 4, 3)
    >>> localization_loss(student, teacher, weight=torch.tensor([0.5, 0.0]), temperature=1.0)
    tensor(1.0986)
    """
    return weighted_mean(edge_distribution_kl(student, teacher, temperature).mean(dim=-1), weight)


@MODELS.register_module()
class LocalizationLoss(nn.Module):
    """Module form of :func:`localization_loss`.

    Args:
        temperature: Softens both distributions.
    """

    def __init__(self, temperature: float = 5.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
        """See :func:`localization_loss`."""
        return localization_loss(student, teacher, weight, self.temperature)
