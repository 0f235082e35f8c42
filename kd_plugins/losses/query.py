"""Losses of the predictions of two detectors at the same queries."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ops.reduction import to_float, weighted_mean
from .logit import softmax_kl


def query_kl_loss(student: Tensor, teacher: Tensor, weight: Tensor, temperature: float = 10.0) -> Tensor:
    r"""Return the divergence of class scores, averaged over the classes and summed over the queries of this rank.

    .. math:: \sum_q w_q \frac{\tau^2}{C} KL\big(softmax(t_q / \tau) \,\|\, softmax(s_q / \tau)\big)

    Source: KD-DETR (arXiv 2211.08071) as released, where :math:`w_q` is the teacher's highest class probability and
    :math:`\tau = 10`. The sum has no divisor, so it grows with the number of images and queries of a rank.

    Args:
        student: Logits :math:`s`, shape (..., C).
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        weight: :math:`w_q` >= 0, shape (...).
        temperature: :math:`\tau`.

    Returns:
        Shape ().

    >>> import torch
    >>> query_kl_loss(torch.zeros(1, 2), torch.tensor([[40.0, 0.0]]), torch.ones(1), temperature=1.0)
    tensor(0.3466)
    """
    divergence = softmax_kl(student, teacher, temperature, dim=-1) / student.shape[-1]
    return (divergence * weight.detach().to(divergence.dtype)).sum()


def query_softmax_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    r"""Return the divergence of class probabilities of heads with softmax, by the weight of each query.

    .. math:: \frac{1}{Z} \sum_q w_q KL\big(softmax(t_q) \,\|\, softmax(s_q)\big), \quad Z = \max\Big(\sum_q w_q, 1\Big)

    with :math:`Z` summed over all ranks. Every rank must call it.

    Args:
        student: Logits :math:`s`, shape (..., C + 1).
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        weight: :math:`w_q` >= 0, shape (...).

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> query_softmax_loss(torch.zeros(1, 2), torch.tensor([[40.0, 0.0]]), torch.ones(1))
    tensor(0.6931)
    """
    return weighted_mean(softmax_kl(student, teacher, 1.0, dim=-1), weight, eps=1.0)


def query_l1_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    r"""Return the absolute difference of boxes, by the weight of each query.

    .. math:: \frac{1}{Z} \sum_q w_q \frac{1}{4} \sum_k |b^s_{qk} - b^t_{qk}|, \quad Z = \max\Big(\sum_q w_q, 1\Big)

    with :math:`Z` summed over all ranks. Source: KD-DETR (arXiv 2211.08071). Every rank must call it.

    Args:
        student: Boxes (cx, cy, w, h) relative to the image, shape (..., 4).
        teacher: Boxes of the same shape; no gradient goes through them.
        weight: :math:`w_q` >= 0, shape (...).

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> query_l1_loss(torch.zeros(1, 4), torch.tensor([[0.0, 0.0, 0.2, 0.2]]), torch.ones(1))
    tensor(0.1000)
    """
    return weighted_mean((to_float(student) - to_float(teacher.detach())).abs().mean(dim=-1), weight, eps=1.0)


def query_edge_loss(student: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    r"""Return the divergence of distributions over box edges, by the weight of each query.

    .. math:: \frac{1}{Z} \sum_q w_q \frac{1}{4} \sum_e KL\big(t_{qe} \,\|\, softmax(s_{qe})\big), \quad
              Z = \max\Big(\sum_q w_q, 1\Big)

    with :math:`Z` summed over all ranks. Every rank must call it. For a target with all probability at one position it
    is D-FINE's :func:`~kd_plugins.losses.fine_grained_localization`, less a constant.

    Args:
        student: Logits :math:`s`, shape (..., 4, N + 1).
        target: Probabilities :math:`t` of the same shape, on the student's bins, such as those of
            :func:`kd_plugins.ops.edge_bins.move_distributions`; no gradient goes through them.
        weight: :math:`w_q` >= 0, shape (...).

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> query_edge_loss(torch.zeros(1, 4, 2), torch.tensor([1.0, 0.0]).expand(1, 4, 2), torch.ones(1))
    tensor(0.6931)
    """
    target = to_float(target.detach())
    divergence = torch.special.xlogy(target, target) - target * to_float(student).log_softmax(dim=-1)
    return weighted_mean(divergence.sum(dim=-1).mean(dim=-1), weight, eps=1.0)
