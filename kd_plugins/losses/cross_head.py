"""Losses of cross-head distillation: the teacher's head on the student's features, against its own predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ops.boxes import area
from ..ops.reduction import global_normalizer, to_float
from .dense import giou_distance
from .logit import quality_focal, softmax_kl


def _by_objects(values: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Return the weighted sum of values, divided by the number of objects of all ranks, at least 1."""
    weight = weight.detach().to(values.dtype)
    return (values * weight).sum() / global_normalizer(count.to(values.dtype), minimum=1.0)


def cross_class_loss(student: Tensor, teacher: Tensor, weight: Tensor, count: Tensor, beta: float = 1.0) -> Tensor:
    r"""Return the quality focal loss of class scores, divided by a number of objects (arXiv 2306.11369, section 3.2).

    .. math:: \frac{1}{P} \sum_i w_i \sum_c |y_{ic} - q_{ic}|^\beta \, BCE(q_{ic}, y_{ic})

    with :math:`y = \sigma(t)`, :math:`q = \sigma(s)`, and :math:`P`, at least 1, summed over all ranks. Every rank
    must call it.

    Args:
        student: Logits :math:`s`, shape (..., C).
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        weight: :math:`w_i` >= 0, shape (...).
        count: This rank's share of :math:`P`, shape ().
        beta: Exponent of the modulating factor: 0 or >= 1.

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> cross_class_loss(torch.zeros(2, 1), torch.full((2, 1), 40.0), torch.ones(2), torch.tensor(2.0))
    tensor(0.3466)
    """
    return _by_objects(quality_focal(student, teacher, beta).sum(dim=-1), weight, count)


def cross_box_loss(student: Tensor, teacher: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    r"""Return the distance of decoded boxes, divided by a number of objects (arXiv 2306.11369, section 3.2).

    .. math:: \frac{1}{P} \sum_i w_i \, (1 - GIoU(b^s_i, b^t_i))

    with :math:`P`, at least 1, summed over all ranks. A teacher's box without area counts for nothing. Every rank must
    call it.

    Args:
        student: Corners in pixels, shape (..., 4).
        teacher: Corners of the same shape; no gradient goes through them.
        weight: :math:`w_i` >= 0, shape (...), the teacher's highest class probability.
        count: This rank's share of :math:`P`, shape ().

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> cross_box_loss(box + 1, box, torch.ones(1), torch.tensor(2.0))
    tensor(0.5397)
    """
    target = to_float(teacher.detach())
    return _by_objects(giou_distance(to_float(student), target), weight * (area(target) > 0), count)


def cross_centerness_loss(student: Tensor, teacher: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    r"""Return the divergence of the centerness of locations, divided by a number of objects.

    .. math:: \frac{1}{P} \sum_i w_i \, KL\big(\sigma(t_i) \,\|\, \sigma(s_i)\big)

    of two outcomes, with :math:`P`, at least 1, summed over all ranks. Its gradient is that of the binary cross-entropy
    with soft targets of arXiv 2306.11369, and it is 0 where both agree. The weights are those of the boxes, because a
    head learns its centerness at objects alone. Every rank must call it.

    Args:
        student: Logits :math:`s`, shape (...).
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        weight: :math:`w_i` >= 0, shape (...), the teacher's highest class probability.
        count: This rank's share of :math:`P`, shape ().

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> cross_centerness_loss(torch.zeros(1), torch.full((1,), 40.0), torch.ones(1), torch.tensor(2.0))
    tensor(0.3466)
    """
    student, teacher = (torch.stack([x, torch.zeros_like(x)], dim=-1) for x in (student, teacher))
    return _by_objects(softmax_kl(student, teacher, temperature=1.0, dim=-1), weight, count)
