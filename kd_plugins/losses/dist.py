"""Correlations of class scores (DIST)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops.reduction import sum_over_ranks, to_float, weighted_mean
from ..registry import MODELS

CONSTANT = 1e-6
"""Norm of a centred vector of scores from which it is not constant."""


def _distance(products: Tensor, student_norm: Tensor, teacher_norm: Tensor) -> Tensor:
    """Return 1 - correlation from the sums of centred products and the norms of the centred scores.

    Constant scores of the teacher give 0. Constant scores of the student alone give 1, without gradient, as their
    correlation has no derivative.
    """
    defined, taught = student_norm > CONSTANT, teacher_norm > CONSTANT
    # Safe norms come before the quotient: also the gradient of the values that `where` discards must be finite.
    norms = torch.where(defined, student_norm, 1.0) * torch.where(taught, teacher_norm, 1.0)
    return torch.where(taught, 1.0 - torch.where(defined, products / norms, 0.0), 0.0)


def inter_class_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Return 1 - Pearson correlation over the classes of each location (DIST, arXiv 2205.10536, eq. 8).

    .. math:: 1 - \rho(y^s_{i\cdot}, y^t_{i\cdot})

    A location where the teacher scores all classes alike gives 0. The release gives 1 there.

    Args:
        student: Scores :math:`y^s`, shape (R, C), float32 or float64.
        teacher: Scores :math:`y^t` of the same shape.

    Returns:
        Shape (R,), in [0, 2].

    >>> inter_class_distance(torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.6, 0.3, 0.1]])).round(decimals=4)
    tensor([1.9538])
    """
    s, t = (scores - scores.mean(dim=-1, keepdim=True) for scores in (student, teacher))
    return _distance((s * t).sum(dim=-1), *(torch.linalg.vector_norm(x, dim=-1) for x in (s, t)))


def intra_class_distance(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    r"""Return 1 - Pearson correlation over the locations of each class (DIST, arXiv 2205.10536, eq. 9).

    .. math:: 1 - \rho(y^s_{\cdot c}, y^t_{\cdot c})

    The locations are those of all ranks; every rank must call it. A class that the teacher scores alike everywhere
    gives 0.

    Args:
        student: Scores :math:`y^s`, shape (R, C), float32 or float64.
        teacher: Scores :math:`y^t` of the same shape.
        valid: Booleans, shape (R,), False at locations that do not count.

    Returns:
        Shape (C,), in [0, 2].

    >>> scores = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    >>> intra_class_distance(scores, scores.flip(1), torch.ones(3) > 0).round(decimals=4)
    tensor([2., 2.])
    """
    weight = valid.to(student.dtype)
    with torch.autocast(student.device.type, enabled=False):
        with torch.no_grad():
            count = weight.sum().expand(student.shape[1])
            count, student_sum, teacher_sum = sum_over_ranks(torch.stack([count, weight @ student, weight @ teacher]))
            student_mean, teacher_mean = (total / count.clamp(min=1.0) for total in (student_sum, teacher_sum))
            t = (teacher - teacher_mean) * weight[:, None]
        # The sums of products do not change with the means to first order, so that these need no gradient.
        s = student - student_mean
        sums = torch.stack([(s * t).sum(dim=0), weight @ s.square(), t.square().sum(dim=0)])
    products, *squares = sum_over_ranks(sums)
    return _distance(products, *(total.clamp(min=CONSTANT**4).sqrt() for total in squares))


def dist_loss(
    student: Tensor,
    teacher: Tensor,
    valid: Tensor | None = None,
    temperature: float = 1.0,
    inter: float = 1.0,
    intra: float = 1.0,
    softmax: bool = True,
) -> Tensor:
    r"""Return the loss of DIST (arXiv 2205.10536, eq. 10) over the locations of all ranks; every rank must call it.

    .. math:: T^2 \Big( \beta \, \mathrm{mean}_i \, (1 - \rho(y^s_{i\cdot}, y^t_{i\cdot}))
        + \gamma \, \mathrm{mean}_c \, (1 - \rho(y^s_{\cdot c}, y^t_{\cdot c})) \Big)

    with :math:`y = softmax(z / T)` or :math:`\sigma(z)`. The release correlates the locations of one rank, and counts
    ignored pixels.

    Args:
        student: Logits, shape (..., C).
        teacher: Logits of the same shape; no gradient goes through them.
        valid: Booleans of shape (...), False at locations that do not count; None counts all.
        temperature: :math:`T` > 0; 1 without softmax.
        inter: Factor :math:`\beta` of :func:`inter_class_distance`.
        intra: Factor :math:`\gamma` of :func:`intra_class_distance`.
        softmax: Whether the classes of a location share one distribution.

    Returns:
        Shape (); ``0 * sum`` where no location counts.

    >>> dist_loss(torch.zeros(2, 3), torch.zeros(2, 3))
    tensor(0.)
    """
    rows = [to_float(logits).flatten(0, -2) for logits in (student, teacher.detach())]
    s, t = ((x / temperature).softmax(dim=-1) if softmax else x.sigmoid() for x in rows)
    counted = torch.ones_like(s[:, 0], dtype=torch.bool) if valid is None else valid.flatten()
    parts = []
    if inter:
        parts.append(inter * weighted_mean(inter_class_distance(s, t), counted, eps=1.0))
    if intra:
        parts.append(intra * intra_class_distance(s, t, counted).mean())
    return torch.stack(parts or [0.0 * s.sum()]).sum() * temperature**2


@MODELS.register_module()
class DISTLoss(nn.Module):
    """Module form of :func:`dist_loss`.

    Args:
        temperature, inter, intra, softmax: See :func:`dist_loss`.
    """

    def __init__(self, temperature: float = 1.0, inter: float = 1.0, intra: float = 1.0, softmax: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.inter = inter
        self.intra = intra
        self.softmax = softmax

    def forward(self, student: Tensor, teacher: Tensor, valid: Tensor | None = None) -> Tensor:
        """See :func:`dist_loss`."""
        return dist_loss(student, teacher, valid, self.temperature, self.inter, self.intra, self.softmax)
