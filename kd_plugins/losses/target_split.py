"""Losses that treat the labelled class apart from the others: NKD, DKD and USKD."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.reduction import global_mean, to_float, weighted_mean
from .logit import softmax_kl

RANK_MODES = ('prob', 'logprob')
"""Scores of the student that rank the classes in :func:`others_by_rank`."""
_EPS = 1e-6


def without_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logits of all classes but the labelled one.

    Args:
        logits: Shape (..., C).
        labels: Integers in [0, C), shape (...).

    Returns:
        Shape (..., C - 1), the classes in their order.

    >>> without_label(torch.tensor([[5.0, 6.0, 7.0]]), torch.tensor([1]))
    tensor([[5., 7.]])
    """
    others = torch.arange(logits.shape[-1] - 1, device=logits.device)
    return logits.gather(-1, others + (others >= labels[..., None]).long())


def _labelled(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return labels that are classes everywhere, and where they were."""
    return labels.clamp(0, classes - 1), (labels >= 0) & (labels < classes)


def _at(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(-1, labels[..., None])[..., 0]


def nkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    target: float = 1.0,
    others: float = 1.5,
) -> Tensor:
    r"""Return the normalised distillation loss of NKD (arXiv 2303.13005, eq. 8); every rank must call it.

    .. math:: \mathrm{mean}_i \Big( a \, T_y \log \frac{T_y}{S_y}
        + \gamma \lambda^2 \, KL\big(\mathcal{N}(t / \lambda) \,\|\, \mathcal{N}(s / \lambda)\big) \Big)

    with :math:`S = softmax(s)`, :math:`T = softmax(t)`, and :math:`\mathcal{N}` the softmax over the classes without
    the label :math:`y`. The paper has cross entropies in place of both divergences: other values, the same gradient.
    The target part is 0 where both networks agree, but its gradient is not: it pulls :math:`S_y` up by :math:`T_y`.

    Args:
        student: Logits :math:`s`, shape (..., C), C >= 2.
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        labels: Integers, shape (...). A location whose label is not in [0, C) does not count.
        temperature: :math:`\lambda` > 0, of the other classes alone.
        target: Factor :math:`a` of the labelled class.
        others: Factor :math:`\gamma` of the other classes.

    Returns:
        Shape (); ``0 * sum`` where no location has a label.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
    >>> nkd_loss(logits, logits, torch.tensor([0]))
    tensor(0.)
    """
    classes, counted = _labelled(labels, student.shape[-1])
    log_s, log_t = (_at(to_float(x).log_softmax(dim=-1), classes) for x in (student, teacher.detach()))
    rest_s, rest_t = (without_label(x, classes) for x in (student, teacher))
    loss = target * log_t.exp() * (log_t - log_s) + others * softmax_kl(rest_s, rest_t, temperature, dim=-1)
    return weighted_mean(loss, counted, eps=1.0)


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    target: float = 1.0,
    others: float = 1.0,
) -> Tensor:
    r"""Return the decoupled distillation loss of DKD (arXiv 2203.08679, eq. 7); every rank must call it.

    .. math:: \tau^2 \, \mathrm{mean}_i \Big( \alpha \, KL\big((T_y, 1 - T_y) \,\|\, (S_y, 1 - S_y)\big)
        + \beta \, KL\big(\mathcal{N}(t / \tau) \,\|\, \mathcal{N}(s / \tau)\big) \Big)

    with :math:`S = softmax(s / \tau)`, :math:`T = softmax(t / \tau)`, and :math:`\mathcal{N}` the softmax over the
    classes without the label :math:`y`. With :math:`\alpha = 1` and :math:`1 - T_y` in place of :math:`\beta` it is
    :func:`~kd_plugins.losses.softmax_kl`.

    Args:
        student: Logits :math:`s`, shape (..., C), C >= 2.
        teacher: Logits :math:`t` of the same shape; no gradient goes through them.
        labels: Integers, shape (...). A location whose label is not in [0, C) does not count.
        temperature: :math:`\tau` > 0.
        target: Factor :math:`\alpha` of the labelled class.
        others: Factor :math:`\beta` of the other classes.

    Returns:
        Shape (); ``0 * sum`` where no location has a label.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
    >>> dkd_loss(logits, logits, torch.tensor([0]))
    tensor(0.)
    """
    classes, counted = _labelled(labels, student.shape[-1])
    rest_s, rest_t = (without_label(x, classes) for x in (student, teacher))
    pair_s = _target_and_rest(student, rest_s, classes, temperature)
    pair_t = _target_and_rest(teacher, rest_t, classes, temperature)
    loss = target * temperature**2 * softmax_kl(pair_s, pair_t, 1.0, dim=-1)
    return weighted_mean(loss + others * softmax_kl(rest_s, rest_t, temperature, dim=-1), counted, eps=1.0)


def _target_and_rest(logits: Tensor, others: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return logits whose softmax is the probability of the label and that of all others, shape (..., 2)."""
    target = _at(to_float(logits), labels) / temperature
    return torch.stack([target, (to_float(others) / temperature).logsumexp(dim=-1)], dim=-1)


@torch.no_grad()
def others_by_rank(student: Tensor, weak: Tensor, labels: Tensor, rank_mode: str = 'prob') -> Tensor:
    r"""Return the target of USKD for the classes without the label: Zipf's law over the rank of each class.

    .. math:: z_c \propto \frac{1}{rank_c}, \quad
        rank \ by \quad \frac{W_c}{1 - W_y} + \frac{S_c}{1 - S_y}

    with :math:`W` and :math:`S` the softmax of both logits. The labelled class takes part in the ranking. In the
    released code (``rank_mode='logprob'``) the second term has :math:`\log S` in place of :math:`S`, so the student's
    own scores outweigh those of the weak head.

    Args:
        student: Logits of the network, shape (..., C).
        weak: Logits of the weak head, of the same shape.
        labels: Integers in [0, C), shape (...).
        rank_mode: ``'prob'``, as in the paper, or ``'logprob'``, as released.

    Returns:
        Probabilities, shape (..., C - 1), the classes in their order.

    >>> logits = torch.tensor([[4.0, 1.0, 2.0]])
    >>> others_by_rank(logits, logits, torch.tensor([0]))
    tensor([[0.4000, 0.6000]])
    """
    w, s = to_float(weak).softmax(dim=-1), to_float(student).log_softmax(dim=-1)
    s = s if rank_mode == 'logprob' else s.exp()
    score = torch.stack([x / (1.0 - _at(x, labels)[..., None] + _EPS) for x in (w, s)]).sum(dim=0)
    place = score.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    share = without_label(1.0 / (place + 1).to(score.dtype), labels)
    return share / share.sum(dim=-1, keepdim=True)


def uskd_loss(
    student: Tensor,
    weak: Tensor,
    labels: Tensor,
    target: float = 1.0,
    others: float = 0.1,
    weak_target: float = 0.005,
    rank_mode: str = 'prob',
) -> Tensor:
    r"""Return the loss of USKD, which has no teacher (arXiv 2303.13005, section 3.3); every rank must call it.

    .. math:: -\mathrm{mean}_i \Big( \alpha \, P_y \log S_y + \beta \sum_{c \ne y} z_c \log \mathcal{N}(s)_c
        + \mu \sum_c g_c \log W_c \Big), \quad P_y = 1 + S_y^2 - \mathrm{mean}_i \, S_y^2

    with :math:`S = softmax(s)`, :math:`W` that of the weak head, :math:`\mathcal{N}` the softmax over the classes
    without the label :math:`y`, :math:`z` from :func:`others_by_rank`, and :math:`g` the label smoothed by 0.1. No
    gradient goes through :math:`P` and :math:`z`. It is a sum of cross entropies, which do not reach 0. The mean of
    :math:`S_y^2` is that of all ranks; the release takes that of one.

    Args:
        student: Logits :math:`s`, shape (..., C), C >= 2.
        weak: Logits of the weak head, of the same shape.
        labels: Integers, shape (...). A location whose label is not in [0, C) does not count.
        target: Factor :math:`\alpha` of the labelled class.
        others: Factor :math:`\beta` of the other classes.
        weak_target: Factor :math:`\mu` of the weak head's own loss.
        rank_mode: See :func:`others_by_rank`.

    Returns:
        Shape (); ``0 * sum`` where no location has a label.

    >>> round(uskd_loss(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([0]), others=0.0, weak_target=0.0).item(), 4)
    1.0986
    """
    classes, counted = _labelled(labels, student.shape[-1])
    log_s = to_float(student).log_softmax(dim=-1)
    log_target = _at(log_s, classes)
    square = log_target.detach().exp().square()
    total, count = global_mean(torch.stack([(square * counted).sum(), counted.sum().to(square.dtype)]))
    soft = 1.0 + square - total / count.clamp(min=_EPS)
    loss = -target * soft * log_target
    rest = to_float(without_label(student, classes)).log_softmax(dim=-1)
    loss = loss - others * (others_by_rank(student, weak, classes, rank_mode) * rest).sum(dim=-1)
    smoothed = F.cross_entropy(to_float(weak).flatten(0, -2), classes.flatten(), reduction='none', label_smoothing=0.1)
    return weighted_mean(loss + weak_target * smoothed.view(loss.shape), counted, eps=1.0)
