"""Loss of localization distillation: divergence of the distributions over box edges (arXiv 2102.12252)."""

from __future__ import annotations

from torch import Tensor, nn

from ..ops.reduction import weighted_mean
from ..registry import MODELS
from .logit import softmax_kl


def localization_loss(student: Tensor, teacher: Tensor, weight: Tensor, temperature: float) -> Tensor:
    r"""Return the divergence of the edge distributions, as a weighted mean over the locations of all ranks.

    With the distributions :math:`p = softmax(t / T)` of the teacher and :math:`q = softmax(s / T)` of the student over
    the bins :math:`i` of an edge, the divergence of a location is the mean over its four edges of

    .. math:: T^2 \sum_i p_i (\log p_i - \log q_i)

    (arXiv 2102.12252, section 3.2; :func:`softmax_kl` over the bins).

    Args:
        student: Logits, shape (..., 4, bins).
        teacher: Logits of the same shape; no gradient goes through them.
        weight: Weight of each location, shape (...), >= 0.
        temperature: :math:`T` > 0.

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> student, teacher = torch.zeros(2, 4, 3), torch.tensor([50.0, 0.0, 0.0]).expand(2, 4, 3)
    >>> localization_loss(student, teacher, weight=torch.tensor([0.5, 0.0]), temperature=1.0)
    tensor(1.0986)
    """
    return weighted_mean(softmax_kl(student, teacher, temperature, dim=-1).mean(dim=-1), weight)


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
