"""The four terms of focal and global distillation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.reduction import global_normalizer, to_float
from .attention import Attention, attention, attention_of_sums, position_count
from .map_sums import map_sums


class FocalGlobalTerms(NamedTuple):
    """Values of one level for each image, (N,)."""

    foreground: Tensor
    background: Tensor
    attention: Tensor
    relation: Tensor


def background_scale(foreground: Tensor, inside: Tensor | None = None) -> Tensor:
    """Return the weights of the background: 1 / number of its positions, in every image (arXiv 2111.11837, eq. 2).

    Args:
        foreground: Weights of the foreground, (N, L); the background is where they are 0.
        inside: Booleans (N, L), False on padding, which is no background; None where all positions count.

    >>> background_scale(torch.tensor([[0.5, 0.0, 0.0]]))
    tensor([[0.0000, 0.5000, 0.5000]])
    """
    outside = foreground == 0
    if inside is not None:
        outside &= inside
    return outside / outside.sum(dim=1, keepdim=True).clamp(min=1)


def attention_gap(student: Attention, teacher: Attention) -> Tensor:
    """Return the L1 distance of both attentions of each image, (N,) (arXiv 2111.11837, eq. 9).

    Args:
        student: Attention of the student.
        teacher: Attention of the teacher.
    """
    return sum((s - t).abs().sum(dim=1) for s, t in zip(student, teacher))  # type: ignore[return-value]


def focal_global_terms(
    student: Tensor,
    teacher: Tensor,
    foreground: Tensor,
    temperature: float = 0.5,
    context: Tensor | None = None,
    inside: Tensor | None = None,
) -> FocalGlobalTerms:
    r"""Return the four terms of one level (FGD, arXiv 2111.11837, eq. 8 to 12).

    .. math::

        L_{fg} &= \sum_{i,c} M_i A^S_i A^C_c (s_{ci} - t_{ci})^2, &
        L_{bg} &= \sum_{i,c} \bar M_i A^S_i A^C_c (s_{ci} - t_{ci})^2 \\
        L_{att} &= \sum_c |A^C_c(s) - A^C_c| + \sum_i |A^S_i(s) - A^S_i|, &
        L_{rel} &= \sum_{i,c} (s_{ci} - t_{ci} + g_c)^2

    where :math:`A` is the attention of the teacher unless it is written with :math:`s`, :math:`M` are the weights of
    the foreground and :math:`\bar M` those of the background, and :math:`g` is the difference of both global contexts.
    All terms are sums over positions and channels, so they grow with the size of the map.

    Args:
        student: Maps with their positions in one dimension, (N, C, L).
        teacher: Maps of the same shape; no gradient goes through them.
        foreground: Weights :math:`M`, (N, L), 0 outside of objects and on padding.
        temperature: :math:`T` of the attention.
        context: Context of the student's map minus that of the teacher's, (N, C); None is 0.
        inside: Booleans (N, L), False on padding; None where all positions count.

    Returns:
        Float32 (float64 for float64).

    >>> terms = focal_global_terms(torch.ones(1, 1, 2), torch.zeros(1, 1, 2), torch.tensor([[1.0, 0.0]]))
    >>> [round(term.item(), 3) for term in terms]
    [1.0, 1.0, 0.0, 2.0]
    """
    student, teacher = to_float(student), to_float(teacher.detach())
    target = attention(teacher, temperature, inside)
    sums = map_sums(student, teacher, target.channel, inside)
    own = attention_of_sums(sums.strength, sums.magnitude, temperature, inside)
    focal = sums.weighted * target.spatial
    relation = (sums.plain if inside is None else sums.plain * inside).sum(dim=1)
    if context is not None:
        # The square of d + g over all positions, from the sums of d.
        context = to_float(context)
        relation = relation + (2 * context * sums.total).sum(dim=1)
        relation = relation + position_count(inside, focal) * context.square().sum(dim=1)
    return FocalGlobalTerms(
        (focal * foreground).sum(dim=1),
        (focal * background_scale(foreground, inside)).sum(dim=1),
        attention_gap(own, target),
        relation,
    )


def sum_over_levels(levels: list[FocalGlobalTerms]) -> FocalGlobalTerms:
    """Return the terms added over the levels, then averaged over the images of all ranks, each of shape ().

    Every rank must call it.

    Args:
        levels: Terms of each level, each (N,).
    """
    sums = torch.stack([torch.stack(terms) for terms in levels]).sum(dim=(0, 2))
    images = torch.full((), float(levels[0].foreground.shape[0]), dtype=sums.dtype, device=sums.device)
    return FocalGlobalTerms(*(sums / global_normalizer(images, minimum=1.0)))
