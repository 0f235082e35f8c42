"""Losses on the locations of a dense head that a selection leaves: class scores, hard labels and boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.boxes import area, intersection
from ..ops.reduction import global_normalizer, to_float, weighted_mean
from .logit import soft_target_focal


def dense_focal_loss(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    negative: Tensor,
    beta: float = 2.0,
    background: float = 0.0,
) -> Tensor:
    r"""Return the focal loss with two kinds of targets: the teacher's probabilities, and less where it sees no object.

    .. math:: \frac{1}{Z} \sum_{i,c} \Big( w_i \, |y_{ic} - q_{ic}|^\beta \, BCE(q_{ic}, y_{ic})
        + v_i \, |b y_{ic} - q_{ic}|^\beta \, BCE(q_{ic}, b y_{ic}) \Big),
        \quad Z = \max\Big(\sum_i w_i \max_c y_{ic}, 1\Big)

    with :math:`y = \sigma(t)` and :math:`q = \sigma(s)`; :math:`Z` is summed over all ranks. Source: Dense Teacher
    (arXiv 2207.02541), where :math:`w_i` is 1 at the locations of the highest :math:`\max_c y_{ic}`, :math:`v_i`
    is 1 at all others, :math:`\beta = 2` and :math:`b = 0`. Every rank must call it.

    Args:
        student: Logits :math:`s`, shape (..., C).
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        weight: :math:`w_i` >= 0, shape (...).
        negative: :math:`v_i` >= 0, shape (...); read where :math:`w_i` is 0, so that no location has two targets.
        beta: Exponent of the modulating factor: 0 or >= 1.
        background: Part :math:`b` of the teacher's probability that the other locations learn, in [0, 1].

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> logits, one, none = torch.zeros(2, 1), torch.tensor([1.0, 0.0]), torch.zeros(2)
    >>> dense_focal_loss(logits, torch.full((2, 1), 40.0), weight=one, negative=none)
    tensor(0.1733)
    >>> dense_focal_loss(logits, torch.full((2, 1), 40.0), weight=one, negative=1 - one)
    tensor(0.3466)
    >>> dense_focal_loss(logits, logits, weight=one, negative=1 - one, background=1.0)
    tensor(0.)
    """
    scores = to_float(teacher.detach()).sigmoid()
    weight, negative = weight.detach().to(scores.dtype), negative.detach().to(scores.dtype)
    # Each location has one kind of target, so that one pass over the classes is enough.
    taught = weight > 0
    target = scores if background == 1.0 else scores * torch.where(taught, 1.0, background)[..., None]
    focal = soft_target_focal(student, target, beta).sum(dim=-1)
    total = (focal * torch.where(taught, weight, negative)).sum()
    return total / global_normalizer((scores.amax(dim=-1) * weight).sum(), minimum=1.0)


def hard_label_loss(student: Tensor, teacher: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    r"""Return the cross entropy to the teacher's most probable class, divided by the number of valid locations.

    .. math:: -\frac{1}{Z} \sum_i w_i \log softmax(s_i)_{y_i}, \quad y_i = argmax_c \, t_{ic}, \quad
        Z = \max\Big(\sum_i v_i, 1\Big)

    with :math:`Z` summed over all ranks. Source: UniMatch (arXiv 2208.09910), where :math:`w_i` is 1 where the
    teacher's highest probability is at least a threshold (FixMatch, arXiv 2001.07685). The divisor counts the locations
    below the threshold as well, so an unsure teacher teaches little. Every rank must call it.

    Args:
        student: Logits :math:`s`, shape (..., C).
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        weight: :math:`w_i` >= 0, shape (...).
        valid: :math:`v_i`, booleans of shape (...), False on padding and where the labels say that nothing counts.

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> teacher = torch.tensor([[9.0, 0.0], [0.1, 0.0]])
    >>> hard_label_loss(torch.zeros(2, 2), teacher, weight=torch.tensor([1.0, 0.0]), valid=torch.ones(2) > 0)
    tensor(0.3466)
    """
    logits = to_float(student)
    rows = logits.flatten(0, -2)
    entropy = F.cross_entropy(rows, teacher.detach().argmax(dim=-1).flatten(), reduction='none')
    total = (entropy * (weight * valid).detach().to(logits.dtype).flatten()).sum()
    return total / global_normalizer(valid.sum().to(logits.dtype), minimum=1.0)


def giou_distance(first: Tensor, second: Tensor, eps: float = 1e-6) -> Tensor:
    r"""Return 1 - GIoU of boxes in pairs (arXiv 1902.09630, algorithm 1); shapes broadcast.

    .. math:: 1 - \frac{|A \cap B|}{|A \cup B|} + \frac{|C| - |A \cup B|}{|C|}

    where :math:`C` is the smallest box that holds both. A box whose edges cross has no area.

    Args:
        first: Corners, shape (..., 4).
        second: Corners, shape (..., 4).
        eps: Lower bound of both denominators.

    Returns:
        Shape (...), in [0, 2].

    >>> giou_distance(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([4.0, 0.0, 6.0, 2.0]))
    tensor(1.3333)
    """
    overlap = intersection(first, second)
    union = area(first) + area(second) - overlap
    low = torch.minimum(first[..., :2], second[..., :2])
    high = torch.maximum(first[..., 2:], second[..., 2:])
    hull = area(torch.cat([low, high], dim=-1))
    return 1 - overlap / union.clamp(min=eps) + (hull - union).clamp(min=0) / hull.clamp(min=eps)


def dense_box_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    r"""Return the distance of the boxes of two networks, by the weight of each location.

    .. math:: \frac{1}{Z} \sum_i w_i \, (1 - GIoU(b^s_i, b^t_i)), \quad Z = \max\Big(\sum_i w_i, 1\Big)

    with :math:`Z` summed over all ranks. Sources: CrossKD (arXiv 2306.11369), where :math:`w_i` is the teacher's
    highest class probability, and BCKD (arXiv 2308.14286), where it is the largest difference of the probabilities of
    both networks. A teacher's box without area counts for nothing. Every rank must call it.

    Args:
        student: Corners in pixels, shape (..., 4).
        teacher: Corners of the same shape; no gradient goes through them.
        weight: :math:`w_i` >= 0, shape (...).

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> dense_box_loss(box + 1, box, weight=torch.ones(1))
    tensor(1.0794)
    """
    target = to_float(teacher.detach())
    return weighted_mean(giou_distance(to_float(student), target), weight * (area(target) > 0), eps=1.0)
