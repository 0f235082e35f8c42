"""Losses on class scores, for softmax heads and for heads with one sigmoid per class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.reduction import global_normalizer, mean_over_images, mean_per_image, to_float
from ..registry import MODELS


def softmax_kl(
    student: Tensor, teacher: Tensor, temperature: float, dim: int = 1, detach_teacher: bool = True
) -> Tensor:
    r"""Return the KL divergence of every position's distribution over classes (arXiv 1503.02531, section 2).

    .. math:: T^2 \sum_c p_c (\log p_c - \log q_c), \quad p = softmax(t / T), \quad q = softmax(s / T)

    The factor :math:`T^2` keeps the size of the gradient independent of the temperature.

    Args:
        student: Logits of any shape.
        teacher: Logits of the same shape, or of one that broadcasts to it.
        temperature: :math:`T` > 0.
        dim: Dimension of the classes, or of the bins of a distribution over positions.
        detach_teacher: Whether to stop the gradient to the teacher.

    Returns:
        The shape of the input without ``dim``, float32 (float64 for float64).

    >>> softmax_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 30.0]]), temperature=1.0)
    tensor([0.6931])
    """
    log_q = (to_float(student) / temperature).log_softmax(dim=dim)
    target = teacher.detach() if detach_teacher else teacher
    log_p = (to_float(target) / temperature).log_softmax(dim=dim)
    return (log_p.exp() * (log_p - log_q)).sum(dim=dim) * temperature**2


def symmetric_kl(student: Tensor, teacher: Tensor, temperature: float, dim: int = 1) -> Tensor:
    r"""Return the mean of both KL divergences of every position's distribution over classes (SSLD, arXiv 2103.05959).

    .. math:: \frac{T^2}{2} \sum_c (p_c - q_c) (\log p_c - \log q_c)

    with :math:`p` and :math:`q` as in :func:`softmax_kl`. The paper calls it the Jensen-Shannon divergence, which is
    another one.

    Args:
        student: Logits of any shape.
        teacher: Logits of the same shape; no gradient goes through them.
        temperature: :math:`T` > 0.
        dim: Dimension of the classes.

    Returns:
        The shape of the input without ``dim``, float32 (float64 for float64).

    >>> symmetric_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 30.0]]), temperature=1.0)
    tensor([7.5000])
    """
    log_q = (to_float(student) / temperature).log_softmax(dim=dim)
    log_p = (to_float(teacher.detach()) / temperature).log_softmax(dim=dim)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=dim) * (temperature**2 / 2)


def soft_target_focal(student: Tensor, target: Tensor, beta: float = 2.0) -> Tensor:
    r"""Return the quality focal loss of every element, with any probability as target (arXiv 2006.04388, eq. 2).

    .. math:: |y - \sigma(s)|^\beta \, BCE(\sigma(s), y)

    Args:
        student: Logits :math:`s` of any shape.
        target: Probabilities :math:`y` of the same shape, float32 or float64.
        beta: Exponent of the modulating factor: 0 (plain cross entropy) or >= 1.

    Returns:
        The shape of the input, float32 (float64 for float64).

    >>> soft_target_focal(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor([0.1733])
    """
    student = to_float(student)
    entropy = F.binary_cross_entropy_with_logits(student, target, reduction='none')
    return entropy * (target - student.sigmoid()).abs().pow(beta)


def quality_focal(student: Tensor, teacher: Tensor, beta: float = 2.0) -> Tensor:
    r"""Return the quality focal loss of every element, with the teacher's probability as soft target.

    .. math:: |\sigma(t) - \sigma(s)|^\beta \, BCE(\sigma(s), \sigma(t))

    (arXiv 2006.04388, eq. 2, where the target is the IoU). It vanishes where student and teacher agree, so that the
    many easy background locations do not dominate the sum.

    Args:
        student: Logits of any shape.
        teacher: Logits of the same shape; no gradient goes through them.
        beta: Exponent of the modulating factor: 0 (plain cross entropy) or >= 1.

    Returns:
        The shape of the input, float32 (float64 for float64).

    >>> quality_focal(torch.tensor([0.0]), torch.tensor([40.0]))
    tensor([0.1733])
    """
    return soft_target_focal(student, to_float(teacher.detach()).sigmoid(), beta)


def softmax_kl_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    temperature: float = 1.0,
    class_dim: int = 1,
    symmetric: bool = False,
    valid: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """Return :func:`softmax_kl` averaged over the positions of all levels, then over the images of all ranks.

    Args:
        student: Logits of each level, (N, C), (N, L, C) with ``class_dim=2``, or (N, C, *spatial).
        teacher: Logits of the same shapes.
        temperature: See :func:`softmax_kl`.
        class_dim: Dimension of the classes.
        symmetric: Whether :func:`symmetric_kl` takes the place of :func:`softmax_kl`.
        valid: For each level, booleans of shape (N, P) over its P positions in row-major order, False at positions that
            do not count, or None. None counts all of all levels.

    Returns:
        Shape ().

    >>> softmax_kl_loss([torch.zeros(1, 2, 3)], [torch.zeros(1, 2, 3)])
    tensor(0.)
    """
    divergence = symmetric_kl if symmetric else softmax_kl
    levels = [divergence(s, t, temperature, class_dim) for s, t in zip(student, teacher)]
    rows = [level.flatten(1) if level.ndim > 1 else level[:, None] for level in levels]
    masks = [None] * len(rows) if valid is None else valid
    counted = None
    if any(mask is not None for mask in masks):
        counted = torch.cat([torch.ones_like(x) > 0 if mask is None else mask for x, mask in zip(rows, masks)], dim=1)
    return mean_over_images(mean_per_image(torch.cat(rows, dim=1), counted))


def _sum(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return the sum of values (N, *positions) at the valid positions (N, P)."""
    return values.sum() if valid is None else (values.flatten(1) * valid).sum()


def quality_focal_kd_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    beta: float = 2.0,
    class_dim: int = 1,
    valid: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """Return the sum of :func:`quality_focal` over all elements and levels, divided by the teacher's confidence.

    The divisor estimates the number of objects that the teacher sees. It is the sum over the locations of all ranks of
    the teacher's highest class probability, at least 1.

    Args:
        student: Logits of each level, shapes as in :func:`softmax_kl_loss`.
        teacher: Logits of the same shapes.
        beta: See :func:`quality_focal`.
        class_dim: Dimension of the classes.
        valid: See :func:`softmax_kl_loss`; the divisor leaves out the same positions.

    Returns:
        Shape ().

    >>> quality_focal_kd_loss([torch.zeros(1, 1)], [torch.full((1, 1), 40.0)])
    tensor(0.1733)
    """
    masks = [None] * len(student) if valid is None else valid
    focal = [_sum(quality_focal(s, t, beta).sum(dim=class_dim), m) for s, t, m in zip(student, teacher, masks)]
    confidence = [_sum(to_float(t.detach()).amax(dim=class_dim).sigmoid(), m) for t, m in zip(teacher, masks)]
    return torch.stack(focal).sum() / global_normalizer(torch.stack(confidence).sum(), minimum=1.0)


@MODELS.register_module()
class SoftmaxKLLoss(nn.Module):
    """Module form of :func:`softmax_kl_loss`.

    Args:
        temperature: Softens both distributions.
        class_dim: Dimension of the classes.
        symmetric: See :func:`softmax_kl_loss`.
    """

    def __init__(self, temperature: float = 1.0, class_dim: int = 1, symmetric: bool = False) -> None:
        super().__init__()
        self.temperature = temperature
        self.class_dim = class_dim
        self.symmetric = symmetric

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """See :func:`softmax_kl_loss`."""
        return softmax_kl_loss(student, teacher, self.temperature, self.class_dim, self.symmetric)


@MODELS.register_module()
class QualityFocalKDLoss(nn.Module):
    """Module form of :func:`quality_focal_kd_loss`.

    Args:
        beta: Exponent of the modulating factor.
        class_dim: Dimension of the classes.
    """

    def __init__(self, beta: float = 2.0, class_dim: int = 1) -> None:
        super().__init__()
        self.beta = beta
        self.class_dim = class_dim

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """See :func:`quality_focal_kd_loss`."""
        return quality_focal_kd_loss(student, teacher, self.beta, self.class_dim)
