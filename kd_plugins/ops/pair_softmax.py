"""Comparison of softmax distributions over pairs of positions, a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 2**24
"""Number of pairs to hold at a time."""
CPU_CHUNK = 2**20
"""The same on a CPU, whose cache holds fewer."""
_HIDDEN = -1e9
"""Logit of a pair with a position that does not count."""

Comparison = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Function from the log-probabilities (N, M, P, Q) of student and teacher, which it may overwrite, and the weights of
the rows (N, 1, P), to the weighted sum and its gradient to the student's logits."""


def divergence(log_q: Tensor, log_p: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of :math:`KL(p \\,\\|\\, q)` of all rows and its gradient, see :data:`Comparison`."""
    p = log_p.exp()
    total = (log_p.sub_(log_q).mul_(p).sum(dim=-1) * weight).sum()
    return total, log_q.exp_().sub_(p).mul_(weight[..., None])


def squares(log_q: Tensor, log_p: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the squares of :math:`q - p` and its gradient, see :data:`Comparison`."""
    q = log_q.exp_()
    difference = q - log_p.exp_()
    total = (difference.square().sum(dim=-1) * weight).sum()
    slope = difference.mul_(2 * weight[..., None])
    return total, slope.sub_((slope * q).sum(dim=-1, keepdim=True)).mul_(q)


def _logits(rows: Tensor, columns: Tensor) -> Tensor:
    """Return products (N, M, P, Q) of vectors (N, C, P) and (N or 1, M, C, Q), also within autocast unrounded."""
    with torch.autocast(rows.device.type, enabled=False):
        return rows.transpose(1, 2)[:, None] @ columns


class _PairLoss(torch.autograd.Function):
    """The weighted sum of all rows, and its gradient in the same pass, a chunk of rows at a time.

    So no tensor of all pairs is stored or computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        columns: Tensor,
        teacher: tuple[Tensor, Tensor],
        weight: Tensor,
        step: int,
        compare: Comparison,
    ) -> Tensor:
        to_rows, to_columns = torch.zeros_like(rows), torch.zeros_like(columns)
        total = rows.new_zeros(())
        for start in range(0, rows.shape[2], step):
            part = slice(start, start + step)
            log_q = _logits(rows[:, :, part], columns).log_softmax(dim=-1)
            log_p = _logits(teacher[0][:, :, part], teacher[1]).log_softmax(dim=-1)
            value, slope = compare(log_q, log_p, weight[:, None, part])
            total = total + value
            with torch.autocast(rows.device.type, enabled=False):
                to_rows[:, :, part] = (slope @ columns.transpose(2, 3)).sum(dim=1).transpose(1, 2)
                to_columns += (rows[:, None, :, part] @ slope).sum_to_size(columns.shape)
        ctx.save_for_backward(to_rows, to_columns)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        to_rows, to_columns = ctx.saved_tensors
        return grad * to_rows, grad * to_columns, None, None, None, None


def pair_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    columns_valid: Tensor,
    weight: Tensor,
    compare: Comparison,
    chunk: int | None = None,
) -> Tensor:
    r"""Return the weighted sum over rows of a comparison of softmax distributions over columns.

    .. math:: \sum_n \sum_m \sum_i w_{ni} \;
        c\big(softmax_j(s_{ni} \cdot s'_{nmj}), softmax_j(t_{ni} \cdot t'_{nmj})\big)

    There are no second derivatives.

    Args:
        student: Vectors of the rows, (N, C, P), and of the columns, (N or 1, M, C, Q).
        teacher: The same of the teacher, without gradient; its number of channels may differ.
        columns_valid: Booleans (N or 1, M, Q), False at columns that do not count.
        weight: :math:`w_{ni}` >= 0, shape (N, P), without gradient.
        compare: :math:`c`: :func:`divergence` or :func:`squares`.
        chunk: Number of pairs to hold at a time, unless those of one row of each n are more; None depends on the
            device. The result does not depend on it.

    Returns:
        Shape ().

    >>> rows, columns = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[[0.0, 1.0]]]])
    >>> pair = (rows, columns), (0 * rows, columns)
    >>> pair_loss(*pair, torch.ones(1, 1, 2) > 0, torch.ones(1, 2), divergence)
    tensor(0.1201)
    """
    (rows, columns), (teacher_rows, teacher_columns) = student, teacher
    # A further channel of the columns hides those that do not count, without a pass over the pairs.
    hidden = torch.where(columns_valid, 0.0, _HIDDEN).to(rows.dtype)[:, :, None]
    columns, teacher_columns = (
        torch.cat([x, hidden.expand(*x.shape[:2], 1, -1)], dim=2) for x in (columns, teacher_columns)
    )
    rows, teacher_rows = (torch.cat([x, torch.ones_like(x[:, :1])], dim=1) for x in (rows, teacher_rows))
    if chunk is None:
        chunk = CHUNK if rows.device.type != 'cpu' else CPU_CHUNK
    step = max(chunk // max(len(rows) * columns.shape[1] * columns.shape[3], 1), 1)
    total: Tensor = _PairLoss.apply(rows, columns, (teacher_rows, teacher_columns), weight, step, compare)
    return total
