"""Correlations of class scores (DIST)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..ops.channel_statistics import ROUNDING
from ..ops.reduction import sum_over_ranks, to_float, weighted_mean
from ..registry import MODELS

CONSTANT = 1e-6
"""Norm of a centred vector of scores from which it is not constant."""


def _distance(products: Tensor, norms: Sequence[Tensor], means: Sequence[Tensor], count: Tensor | float) -> Tensor:
    """Return 1 - correlation of vectors of scores.

    Constant scores of the teacher give 0. Constant scores of the student alone give 1, without gradient, as their
    correlation has no derivative.

    Args:
        products: Sum of the products of the centred scores of both networks.
        norms: Norms of the centred scores of student and teacher.
        means: Their means; the difference of a constant from its own rounded mean must not become a direction.
        count: Number of the scores.
    """
    floors = [(ROUNDING * count**0.5 * mean.detach().abs()).clamp(min=CONSTANT) for mean in means]
    defined, taught = (norm > floor for norm, floor in zip(norms, floors))
    # Safe norms come before the quotient: also the gradient of the values that `where` discards must be finite.
    safe = torch.where(defined, norms[0], 1.0) * torch.where(taught, norms[1], 1.0)
    return torch.where(taught, 1.0 - torch.where(defined, products / safe, 0.0), 0.0)


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
    means = [scores.mean(dim=-1, keepdim=True) for scores in (student, teacher)]
    s, t = student - means[0], teacher - means[1]
    norms = [torch.linalg.vector_norm(x, dim=-1) for x in (s, t)]
    return _distance((s * t).sum(dim=-1), norms, [mean[..., 0] for mean in means], student.shape[-1])


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
    weight = valid.to(student.dtype)[:, None]
    with torch.no_grad():
        # Sums of many rows: a product with a matrix may add them one by one, and so lose three of seven digits.
        totals = [weight.sum(dim=0).expand(student.shape[1]), *((x * weight).sum(dim=0) for x in (student, teacher))]
        count, *totals = sum_over_ranks(torch.stack(totals))
        means = [total / count.clamp(min=1.0) for total in totals]
        t = (teacher - means[1]) * weight
    # The sums of products do not change with the means to first order, so that these need no gradient.
    s = (student - means[0]) * weight
    products, *squares = sum_over_ranks(torch.stack([(s * t).sum(dim=0), *(x.square().sum(dim=0) for x in (s, t))]))
    norms = [total.clamp(min=CONSTANT**4).sqrt() for total in squares]
    return _distance(products, norms, means, count)


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
