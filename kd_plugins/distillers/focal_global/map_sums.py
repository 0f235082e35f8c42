"""Sums over the positions or channels of two maps, chunk by chunk, with nothing stored but the maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNKS = {'cpu': 2**16, 'cuda': 2**24}
"""Elements of a working tensor: on a CPU as many as its cache holds, elsewhere as many as its memory allows."""


class MapSums(NamedTuple):
    """Sums of the maps (N, C, L) of a student and a teacher, whose difference is d.

    Attributes:
        strength: Sum of the student's magnitudes over the channels, (N, L).
        magnitude: Sum of the student's magnitudes over the positions that count, (N, C).
        weighted: Sum of d squared over the channels, each channel weighted, (N, L).
        plain: Sum of d squared over the channels, (N, L).
        total: Sum of d over the positions that count, (N, C).
    """

    strength: Tensor
    magnitude: Tensor
    weighted: Tensor
    plain: Tensor
    total: Tensor


def _ranges(x: Tensor, chunk: int | None) -> Iterator[slice]:
    elements = CHUNKS.get(x.device.type, CHUNKS['cuda']) if chunk is None else chunk
    step = max(1, elements // max(x.shape[0] * x.shape[1], 1))
    return (slice(start, start + step) for start in range(0, x.shape[2], step))


def _counted(x: Tensor, inside: Tensor | None, part: slice) -> Tensor:
    """Return the sum over the positions that count of a chunk, (N, C)."""
    return x.sum(dim=2) if inside is None else (x * inside[:, None, part]).sum(dim=2)


@torch.no_grad()
def strength_sums(x: Tensor, inside: Tensor | None = None, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Return ``strength`` and ``magnitude`` of :class:`MapSums` of one map, without gradient.

    Args:
        x: Map (N, C, L).
        inside: Booleans (N, L), False on padding; None where all positions count.
        chunk: Largest number of elements of a working tensor; None is :data:`CHUNKS`.
    """
    strength, magnitude = x.new_empty(len(x), x.shape[2]), x.new_zeros(x.shape[:2])
    for part in _ranges(x, chunk):
        values = x[:, :, part].abs()
        strength[:, part] = values.sum(dim=1)
        magnitude += _counted(values, inside, part)
    return strength, magnitude


class _MapSums(torch.autograd.Function):
    """The sums; the backward pass computes the difference again and writes one gradient of the student's map."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, channel: Tensor, inside: Tensor | None, chunk: int | None
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(student, teacher, channel, inside)
        ctx.chunk = chunk
        strength, magnitude = strength_sums(student, inside, chunk)
        weighted, plain, total = torch.empty_like(strength), torch.empty_like(strength), torch.zeros_like(magnitude)
        for part in _ranges(student, chunk):
            difference = student[:, :, part] - teacher[:, :, part]
            total += _counted(difference, inside, part)
            squares = difference.square_()
            plain[:, part] = squares.sum(dim=1)
            weighted[:, part] = squares.mul_(channel[:, :, None]).sum(dim=1)
        return strength, magnitude, weighted, plain, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher, channel, inside = ctx.saved_tensors
        strength, magnitude, weighted, plain, total = gradients
        gradient = torch.empty_like(student)
        weighted, plain = 2 * weighted, 2 * plain
        for part in _ranges(student, ctx.chunk):
            values = student[:, :, part]
            factor = torch.addcmul(plain[:, None, part], channel[:, :, None], weighted[:, None, part])
            out = (values - teacher[:, :, part]).mul_(factor)
            if inside is None:
                slope, shift = strength[:, None, part] + magnitude[:, :, None], total[:, :, None]
            else:
                counted = inside[:, None, part]
                slope = torch.addcmul(strength[:, None, part], magnitude[:, :, None], counted.to(out.dtype))
                shift = total[:, :, None] * counted
            gradient[:, :, part] = out.addcmul_(values.sign(), slope).add_(shift)
        return gradient, None, None, None, None


def map_sums(
    student: Tensor, teacher: Tensor, channel: Tensor, inside: Tensor | None = None, chunk: int | None = None
) -> MapSums:
    """Return the sums of two maps. Gradients reach the student's map alone; there are no second derivatives.

    Args:
        student: Map (N, C, L).
        teacher: Map of the same shape.
        channel: Weight of each channel, (N, C).
        inside: Booleans (N, L), False on padding; None where all positions count.
        chunk: Largest number of elements of a working tensor; None is :data:`CHUNKS`. The result does not depend on it
            but for rounding.

    >>> sums = map_sums(torch.tensor([[[1.0, -2.0]]]), torch.zeros(1, 1, 2), torch.tensor([[0.5]]))
    >>> sums.magnitude.item(), sums.weighted.tolist(), sums.total.item()
    (3.0, [[0.5, 2.0]], -1.0)
    """
    return MapSums(*_MapSums.apply(student, teacher, channel, inside, chunk))
