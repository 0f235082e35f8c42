"""Chunked row sums, recomputed in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ReadRows = Callable[[int, int, int], Tensor]
"""Function from the name of a map, a first row and the end of the rows (exclusive) to these rows of the map."""
RowFunction = Callable[[int, int, ReadRows], tuple[Tensor, ...]]
"""Function from a first row, the end of the rows (exclusive) and :data:`ReadRows` to tensors that are added up."""


def _ranges(rows: int, step: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _reading(maps: Mapping[int, Tensor]) -> ReadRows:
    return lambda name, start, stop: maps[name][:, :, start:stop]


class _RowSums(torch.autograd.Function):
    """The sums; the backward pass computes each part again and adds its gradient to one buffer per map.

    The gradient of a slice of a map would be as large as the map and mostly zeros; here it is as large as the slice.
    """

    @staticmethod
    def forward(
        ctx: Any, function: RowFunction, rows: int, step: int, names: Sequence[int], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.call = function, rows, step, names
        ctx.set_materialize_grads(False)
        read = _reading(dict(zip(names, tensors)))
        totals: tuple[Tensor, ...] = ()
        for start, stop in _ranges(rows, step):
            part = function(start, stop, read)
            totals = tuple(total + value for total, value in zip(totals, part)) if totals else part
        return totals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        function, rows, step, names = ctx.call
        tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[4:]
        buffers = [torch.zeros_like(x) if needed else None for x, needed in zip(tensors, wanted)]
        place = {name: index for index, name in enumerate(names)}
        params = [index for index in range(len(names), len(tensors)) if wanted[index]]
        for start, stop in _ranges(rows, step):
            leaves: list[tuple[Tensor, Tensor]] = []

            def read(name: int, first: int, end: int, leaves: list[tuple[Tensor, Tensor]] = leaves) -> Tensor:
                leaf, buffer = tensors[place[name]].detach()[:, :, first:end], buffers[place[name]]
                if buffer is not None:
                    leaves.append((leaf.requires_grad_(), buffer[:, :, first:end]))
                return leaf

            with torch.autocast(tensors[0].device.type, enabled=False):
                with torch.enable_grad():
                    part = function(start, stop, read)
                pairs = [(x, g) for x, g in zip(part, gradients) if g is not None and x.requires_grad]
                if not pairs:
                    continue
                targets = [*leaves, *((tensors[index], buffers[index]) for index in params)]
                outputs, directions = zip(*pairs)
                parts = torch.autograd.grad(outputs, [x for x, _ in targets], directions, allow_unused=True)
            for (_, buffer), gradient in zip(targets, parts):
                if buffer is not None and gradient is not None:
                    buffer.add_(gradient)
        return (None, None, None, None, *buffers)


def sum_over_rows(
    function: RowFunction, rows: int, step: int, maps: Mapping[int, Tensor], params: Sequence[Tensor] = ()
) -> tuple[Tensor, ...]:
    """Add up the results of a function for consecutive ranges of rows, storing nothing for the backward pass.

    With more than one range, the backward pass calls the function again for each range, so that intermediate results
    exist for one range at a time. Gradients reach the maps and the parameters once; there are no second derivatives.

    Args:
        function: Reads rows of the maps, not necessarily as many as its range has, and returns tensors.
        rows: Number of rows to divide into ranges.
        step: Rows of a range, at least 1.
        maps: Name to a map (N, C, rows, ...); maps may differ in their number of rows.
        params: All other tensors with a gradient that the function uses.

    Returns:
        The sums.

    >>> x = torch.arange(6.0).view(1, 1, 6).requires_grad_()
    >>> (total,) = sum_over_rows(lambda start, stop, read: (read(0, start, stop).square().sum(),), 6, 4, {0: x})
    >>> total.backward()
    >>> x.grad.tolist()
    [[[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]]]
    """
    if step >= rows:
        return function(0, rows, _reading(maps))
    sums: tuple[Tensor, ...] = _RowSums.apply(function, rows, step, list(maps), *maps.values(), *params)
    return sums
