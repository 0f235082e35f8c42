"""Probabilities that are made of two: class and objectness, or the predictions of two teachers.

All functions take and return logits, so that the losses on logits apply to their results, and none of them takes the
logarithm of a rounded probability.
"""

from __future__ import annotations

import math

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


def mean_logits(first: Tensor, second: Tensor, softmax: bool, temperature: float = 1.0) -> Tensor:
    r"""Return logits whose probabilities are the mean of the probabilities of two predictions.

    Args:
        first: Logits, shape (..., C).
        second: Logits of the same shape.
        softmax: Whether the classes of a prediction share one distribution; otherwise each has a probability of its
            own.
        temperature: :math:`T`; softmax of the result over :math:`T` is the mean of both distributions at this
            temperature. 1 without softmax.

    Returns:
        Shape (..., C), float32 (float64 for float64).

    >>> mean_logits(torch.tensor([0.0]), torch.tensor([40.0]), softmax=False).sigmoid()
    tensor([0.7500])
    >>> mean_logits(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 40.0]), softmax=True).softmax(dim=-1)
    tensor([0.2500, 0.7500])
    """
    pair = torch.stack([to_float(first), to_float(second)])
    if softmax:
        return ((pair / temperature).log_softmax(dim=-1).logsumexp(dim=0) - math.log(2)) * temperature
    return F.logsigmoid(pair).logsumexp(dim=0) - F.logsigmoid(-pair).logsumexp(dim=0)


def jensen_shannon(first: Tensor, second: Tensor, softmax: bool) -> Tensor:
    r"""Return the Jensen-Shannon divergence of two predictions, in nats, between 0 and :math:`\log 2`.

    .. math:: JS(p, q) = \tfrac{1}{2} KL(p \,\|\, m) + \tfrac{1}{2} KL(q \,\|\, m), \quad m = \tfrac{1}{2} (p + q)

    Where each class has a probability of its own, it is that of the class on which they differ most. So the value does
    not depend on the number of classes that both exclude.

    Args:
        first: Logits, shape (..., C).
        second: Logits of the same shape.
        softmax: Whether the classes of a prediction share one distribution.

    Returns:
        Shape (...).

    >>> jensen_shannon(torch.tensor([[0.0], [40.0]]), torch.tensor([[0.0], [-40.0]]), softmax=False)
    tensor([0.0000, 0.6931])
    """
    mean = mean_logits(first, second, softmax)
    sides = [_divergence(to_float(logits), mean, softmax) for logits in (first, second)]
    total = torch.stack(sides).mean(dim=0)
    return (total.sum(dim=-1) if softmax else total.amax(dim=-1)).clamp(0.0, math.log(2))


def agreement(first: Tensor, second: Tensor, softmax: bool, tau: float) -> Tensor:
    r"""Return how much two predictions agree, :math:`\exp(-JS / \tau)`, without gradient.

    That the divergence of two teachers weighs the target images is from arXiv 2203.08344; the form is not.

    Args:
        first: Logits, shape (..., C).
        second: Logits of the same shape.
        softmax: See :func:`jensen_shannon`.
        tau: :math:`\tau` > 0, the divergence at which the weight is 1 / e.

    Returns:
        Shape (...), in (0, 1].

    >>> agreement(torch.tensor([[2.0], [40.0]]), torch.tensor([[2.0], [-40.0]]), softmax=False, tau=0.2)
    tensor([1.0000, 0.0312])
    """
    return (-jensen_shannon(first.detach(), second.detach(), softmax) / tau).exp()


def _divergence(logits: Tensor, mean: Tensor, softmax: bool) -> Tensor:
    if softmax:
        log_p = logits.log_softmax(dim=-1)
        return log_p.exp() * (log_p - mean.log_softmax(dim=-1))
    present, absent = (
        (side * logits).sigmoid() * (F.logsigmoid(side * logits) - F.logsigmoid(side * mean)) for side in (1, -1)
    )
    return present + absent
