"""Probabilities that are made of several: class and objectness, or the predictions of several teachers.

All functions take logits. Those that return logits, to which the losses on logits apply, take no logarithm of a rounded
probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .reduction import to_float


def joint_logits(classes: Tensor, objectness: Tensor, exponent: float = 1.0) -> Tensor:
    r"""Return the logits of the product of class probability and objectness, to a power.

    .. math:: \sigma(r) = (\sigma(a)\,\sigma(b))^e

    YOLOX scores a box by the product (:math:`e = 1`), RTMDet with objectness by the geometric mean (:math:`e = 1/2`).

    Args:
        classes: Logits :math:`a`, shape (..., C).
        objectness: Logits :math:`b`, shape (..., 1).
        exponent: :math:`e`, 1 or 1/2.

    Returns:
        Logits :math:`r`, shape (..., C), float32 (float64 for float64).

    >>> joint_logits(torch.zeros(1, 1), torch.zeros(1, 1)).sigmoid()
    tensor([[0.2500]])
    >>> joint_logits(torch.zeros(1, 1), torch.zeros(1, 1), exponent=0.5).sigmoid()
    tensor([[0.5000]])
    """
    a, b = torch.broadcast_tensors(to_float(classes), to_float(objectness))
    # With q the product, 1 / q - 1 is the sum of three exponentials.
    product = -torch.stack([-a, -b, -a - b]).logsumexp(dim=0)
    if exponent == 1.0:
        return product
    # logit(sqrt(q)) = log(q) / 2 - log(1 - q) + log(1 + sqrt(q)), and logit(q) = log(q) - log(1 - q).
    log_product = F.logsigmoid(a) + F.logsigmoid(b)
    return product - log_product / 2 + (log_product / 2).exp().log1p()


def mean_logits(members: Sequence[Tensor], softmax: bool, temperature: float = 1.0) -> Tensor:
    r"""Return logits whose probabilities are the mean of the probabilities of several predictions.

    Args:
        members: Logits of each prediction, all of shape (..., C).
        softmax: Whether the classes of a prediction share one distribution; otherwise each has a probability of its
            own.
        temperature: :math:`T`; softmax of the result over :math:`T` is the mean of the distributions at this
            temperature. 1 without softmax.

    Returns:
        Shape (..., C), float32 (float64 for float64).

    >>> mean_logits([torch.tensor([0.0]), torch.tensor([40.0])], softmax=False).sigmoid()
    tensor([0.7500])
    >>> mean_logits([torch.tensor([0.0, 0.0]), torch.tensor([0.0, 40.0])], softmax=True).softmax(dim=-1)
    tensor([0.2500, 0.7500])
    """
    stacked = torch.stack([to_float(logits) for logits in members])
    if softmax:
        return ((stacked / temperature).log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(members))) * temperature
    return F.logsigmoid(stacked).logsumexp(dim=0) - F.logsigmoid(-stacked).logsumexp(dim=0)


def majority_vote(members: Sequence[Tensor]) -> Tensor:
    r"""Return the share of the votes that each class gets from K predictions and from their mean.

    .. math:: \frac{n_c + m_c}{K + 1}, \quad n_c = |\{k : c = \arg\max_j p_{kj}\}|, \quad
        m = \tfrac{1}{K} \sum_k p_k

    Every prediction :math:`p_k` gives one vote to its most probable class. The mean spreads one vote over all classes,
    so it decides where the others are even, and it can overrule no majority.

    Args:
        members: Logits of each prediction, all of shape (..., C).

    Returns:
        Probabilities, shape (..., C), float32 (float64 for float64), without gradient.

    >>> members = torch.tensor([[[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 40.0]]])
    >>> majority_vote(list(members))
    tensor([[0.5960, 0.0353, 0.3687]])
    """
    stacked = torch.stack([to_float(logits.detach()) for logits in members])
    votes = torch.zeros_like(stacked[0])
    for winner in stacked.argmax(dim=-1, keepdim=True):
        votes.scatter_add_(-1, winner, torch.ones_like(winner, dtype=votes.dtype))
    return (votes + stacked.softmax(dim=-1).mean(dim=0)) / (len(members) + 1)


def jensen_shannon(members: Sequence[Tensor], softmax: bool) -> Tensor:
    r"""Return the Jensen-Shannon divergence of K predictions, in nats, between 0 and :math:`\log K`.

    .. math:: JS(p_1, \dots, p_K) = \tfrac{1}{K} \sum_k KL(p_k \,\|\, m), \quad m = \tfrac{1}{K} \sum_k p_k

    Where each class has a probability of its own, it is that of the class on which they differ most. So the value does
    not depend on the number of classes that all exclude. It is at most :math:`\log 2` there.

    Args:
        members: Logits of each prediction, all of shape (..., C).
        softmax: Whether the classes of a prediction share one distribution.

    Returns:
        Shape (...).

    >>> jensen_shannon([torch.tensor([[0.0], [40.0]]), torch.tensor([[0.0], [-40.0]])], softmax=False)
    tensor([0.0000, 0.6931])
    """
    mean = mean_logits(members, softmax)
    sides = [_divergence(to_float(logits), mean, softmax) for logits in members]
    total = torch.stack(sides).mean(dim=0)
    return (total.sum(dim=-1) if softmax else total.amax(dim=-1)).clamp(0.0, math.log(len(members)))


def agreement(members: Sequence[Tensor], softmax: bool, tau: float) -> Tensor:
    r"""Return how much predictions agree, :math:`\exp(-JS / \tau)`, without gradient.

    That the divergence of two teachers weighs the target images is from arXiv 2203.08344; the form is not.

    Args:
        members: Logits of each prediction, all of shape (..., C).
        softmax: See :func:`jensen_shannon`.
        tau: :math:`\tau` > 0, the divergence at which the weight is 1 / e.

    Returns:
        Shape (...), in (0, 1].

    >>> agreement([torch.tensor([[2.0], [40.0]]), torch.tensor([[2.0], [-40.0]])], softmax=False, tau=0.2)
    tensor([1.0000, 0.0312])
    """
    return (-jensen_shannon([logits.detach() for logits in members], softmax) / tau).exp()


def _divergence(logits: Tensor, mean: Tensor, softmax: bool) -> Tensor:
    if softmax:
        log_p = logits.log_softmax(dim=-1)
        return log_p.exp() * (log_p - mean.log_softmax(dim=-1))
    present, absent = (
        (side * logits).sigmoid() * (F.logsigmoid(side * logits) - F.logsigmoid(side * mean)) for side in (1, -1)
    )
    return present + absent
