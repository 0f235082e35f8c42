"""Decoupled distillation of edge distributions: separate averages of matched and other queries (arXiv 2410.13842)."""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from ..ops.reduction import global_mean
from ..registry import MODELS
from ..utils.checks import check_choice, check_flag, check_number
from .logit import softmax_kl

REDUCTIONS = ('means', 'sums')
NORMALIZERS = ('world', 'rank')
DENOISING_COUNTS = ('own', 'matching')


def _nonzero(x: Tensor) -> Tensor:
    """Replace 0 by 1, for divisors whose dividend is 0 as well."""
    return x + (x == 0).to(x.dtype)


def decoupled_distillation(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    matched: Tensor,
    temperature: float = 5.0,
    reduction: str = 'means',
    counts: tuple[Tensor | float, Tensor | float] | None = None,
    detach_teacher: bool = True,
    normalizer: str = 'world',
) -> Tensor:
    r"""Return the divergence of each student layer from the teacher, balanced between matched and other queries.

    With :math:`D` from :func:`~kd_plugins.losses.softmax_kl`, :math:`S_\pm = \sum w D` over the edges of
    matched (+) and other (-) queries, and :math:`n_\pm` the numbers of these edges,

    .. math:: \frac{\sqrt{n_+} \, S_+ / n_+ + \sqrt{n_-} \, S_- / n_-}{\sqrt{n_+} + \sqrt{n_-}}

    for ``reduction='means'`` (the authors' release, ``src/zoo/dfine/dfine_criterion.py``). The formula of the paper
    (arXiv 2410.13842, section 4.2) has :math:`S_\pm` in place of :math:`S_\pm / n_\pm`: ``reduction='sums'``, which
    grows with the size of the batch. A group without queries contributes 0.

    With ``normalizer='world'`` the gradients averaged over ranks, as DDP does, equal those of one process that holds
    the whole batch, and every rank must call this function. The release counts on each rank separately (``'rank'``).

    Args:
        student: Logits of S layers, shape (S, K, 4, N + 1).
        teacher: Logits, shape (K, 4, N + 1).
        weight: :math:`w` >= 0, shape (S, K), usually the IoU of matched queries and the highest class probability of
            the others; no gradient goes through it.
        matched: Booleans, shape (S, K) or (K,).
        temperature: See :func:`~kd_plugins.losses.softmax_kl`.
        reduction: ``'means'`` or ``'sums'``.
        counts: Replaces :math:`(n_+, n_-)` in the square roots, but not in the means; shape () or (S,) each. Only the
            ratio matters. With ``normalizer='world'`` they are averaged over ranks.
        detach_teacher: Whether to stop the gradient to the teacher.
        normalizer: ``'world'`` or ``'rank'``.

    Returns:
        Shape (S,), float32 (float64 for float64).

    Raises:
        ConfigError: If ``reduction`` or ``normalizer`` is not known.

    >>> student, teacher = torch.zeros(1, 2, 4, 3), torch.tensor([50.0, 0.0, 0.0]).expand(2, 4, 3)
    >>> matched = torch.tensor([True, False])
    >>> decoupled_distillation(student, teacher, torch.tensor([[1.0, 0.5]]), matched, temperature=1.0)
    tensor([0.8240])
    """
    check_choice('reduction', reduction, REDUCTIONS)
    check_choice('normalizer', normalizer, NORMALIZERS)
    divergence = softmax_kl(student, teacher, temperature, dim=-1, detach_teacher=detach_teacher)
    edges = divergence.shape[-1]
    weighted = divergence.sum(dim=-1) * weight.detach().to(divergence.dtype)
    positive = matched.to(weighted.dtype).expand_as(weighted)
    masks = torch.stack([positive, 1 - positive])  # (2, S, K)
    sums = (masks * weighted).sum(dim=-1)
    own = edges * masks.sum(dim=-1)
    balance = own
    if counts is not None:
        # new_full fills a tensor on the device, while a copy from the host would wait for the device.
        given = [count.detach().to(own) if isinstance(count, Tensor) else own.new_full((), count) for count in counts]
        balance = torch.stack([count.expand_as(own[0]) for count in given])
    if normalizer == 'world':
        own, balance = global_mean(torch.stack([own, balance]))
    if reduction == 'means':
        sums = sums / _nonzero(own)
    elif normalizer == 'world':
        sums = sums * get_world_size()  # DDP divides the sum over all ranks by their number
    root = balance.detach().sqrt()
    return (root * sums).sum(dim=0) / _nonzero(root.sum(dim=0))


@MODELS.register_module()
class DDFLoss(nn.Module):
    """Module form of :func:`decoupled_distillation`.

    Args:
        loss_weight: Factor of the result.
        temperature: Softens both distributions, > 0.
        reduction: ``'means'`` (the authors' release) or ``'sums'`` (the formula of the paper).
        normalizer: ``'world'``, independent of how the batch is split over ranks, or ``'rank'`` (the release).
        detach_teacher: Whether to stop the gradient to the teacher.
        denoising_counts: Queries that balance the denoising part: those of the ``'matching'`` part (the release), which
            the caller then passes as ``counts``, or its ``'own'``.

    Raises:
        ConfigError: If an argument has no valid value.
    """

    def __init__(
        self,
        loss_weight: float = 1.5,
        temperature: float = 5.0,
        reduction: str = 'means',
        normalizer: str = 'world',
        detach_teacher: bool = True,
        denoising_counts: str = 'matching',
    ) -> None:
        super().__init__()
        self.loss_weight = check_number('DDFLoss.loss_weight', loss_weight, positive=False, example=1.5)
        self.temperature = check_number('DDFLoss.temperature', temperature, positive=True, example=5.0)
        self.reduction = check_choice('DDFLoss.reduction', reduction, REDUCTIONS)
        self.normalizer = check_choice('DDFLoss.normalizer', normalizer, NORMALIZERS)
        self.detach_teacher = check_flag('DDFLoss.detach_teacher', detach_teacher)
        self.denoising_counts = check_choice('DDFLoss.denoising_counts', denoising_counts, DENOISING_COUNTS)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        weight: Tensor,
        matched: Tensor,
        counts: tuple[Tensor | float, Tensor | float] | None = None,
    ) -> Tensor:
        """See :func:`decoupled_distillation`."""
        return self.loss_weight * decoupled_distillation(
            student,
            teacher,
            weight,
            matched,
            temperature=self.temperature,
            reduction=self.reduction,
            counts=counts,
            detach_teacher=self.detach_teacher,
            normalizer=self.normalizer,
        )
