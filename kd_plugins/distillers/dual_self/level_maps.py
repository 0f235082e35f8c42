"""Logits of several levels at one larger size, computed for a range of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError
from ...ops.chunked_sum import ReadRows

Doubling = nn.ConvTranspose2d | nn.ConvTranspose3d
STACK = -2
"""Name of the map that joins the levels which remain to be doubled once."""


def doublings(size: Sequence[int], target: Sequence[int], key: str = 'upsample') -> int:
    """Return the number of doublings of every axis that lead to a target size.

    Args:
        size: Spatial size.
        target: Spatial size to reach.
        key: Config key of ``upsample`` for the error sentence.

    Raises:
        ConfigError: If no number of doublings does.

    >>> doublings((4, 5), (32, 40)), doublings((4, 5), (4, 5))
    (3, 0)
    """
    times = 0
    while size[0] * 2**times < target[0]:
        times += 1
    if [axis * 2**times for axis in size] != list(target):
        sizes = ' and '.join('x'.join(map(str, axes)) for axes in (size, target))
        raise ConfigError(
            f"{key} is 'deconv', which doubles every axis, and no number of doublings leads from {sizes}; "
            "use upsample='interpolate'"
        )
    return times


def shrunk(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return a map averaged to a smaller size; a map with a smaller axis is returned unchanged.

    Args:
        x: (N, C, *spatial), two or three spatial axes.
        size: Spatial size of the result.

    >>> shrunk(torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]), (1, 1)).item()
    3.0
    """
    if x.shape[2:] == torch.Size(size) or any(axis < target for axis, target in zip(x.shape[2:], size)):
        return x
    pool: Callable[..., Tensor] = F.adaptive_avg_pool2d if x.ndim == 4 else F.adaptive_avg_pool3d
    return pool(x, list(size))


def upsampled(x: Tensor, size: Sequence[int], doubling: Doubling | None = None, key: str = 'upsample') -> Tensor:
    """Return a whole map at another size.

    Args:
        x: (N, C, *spatial), two or three spatial axes. A map that is larger in every axis is averaged.
        size: Spatial size to reach.
        doubling: Layer that doubles every axis, applied as often as needed; None interpolates linearly.
        key: Config key of ``upsample`` for the error sentence.

    Raises:
        ConfigError: If no number of doublings reaches the size.
    """
    x = shrunk(x, size)
    if doubling is None:
        mode = 'bilinear' if x.ndim == 4 else 'trilinear'
        return x if x.shape[2:] == torch.Size(size) else F.interpolate(x, tuple(size), mode=mode, align_corners=False)
    for _ in range(doublings(x.shape[2:], size, key)):
        x = doubling(x)
    return x


def interpolated_rows(
    read: Callable[[int, int], Tensor], source: Sequence[int], start: int, stop: int, size: Sequence[int]
) -> Tensor:
    """Return rows ``[start, stop)`` of a map, interpolated linearly to ``size``.

    Equal to ``F.interpolate(x, size, mode=..., align_corners=False)[:, :, start:stop]`` up to rounding.

    Args:
        read: Returns rows of the map (N, C, *spatial) with two or three spatial axes. Rows are entries of the first
            spatial axis.
        source: Spatial size of the map.
        start: First row of the result.
        stop: End of its rows, exclusive.
        size: Spatial size of the whole result.

    >>> x = torch.rand(1, 2, 3, 4)
    >>> whole = F.interpolate(x, (7, 9), mode='bilinear')
    >>> rows = interpolated_rows(lambda a, b: x[:, :, a:b], (3, 4), 2, 5, (7, 9))
    >>> torch.allclose(rows, whole[:, :, 2:5], atol=1e-6)
    True
    """
    rows = source[0]
    if rows == size[0]:
        x = read(start, stop)
    else:
        # Each row mixes two rows of the map. The product with a small matrix of hat functions avoids an indexed read,
        # whose gradient is not deterministic on a GPU.
        low = max(int((start + 0.5) * rows / size[0] - 0.5), 0)
        high = min(int((stop - 0.5) * rows / size[0] + 0.5) + 1, rows)
        x = read(low, high)
        place = (torch.arange(start, stop, device=x.device, dtype=x.dtype) + 0.5) * (rows / size[0]) - 0.5
        nodes = torch.arange(low, high, device=x.device, dtype=x.dtype)
        mix = (1 - (place.clamp(0, rows - 1)[:, None] - nodes).abs()).clamp(min=0)
        x = torch.tensordot(mix, x, dims=([1], [2])).movedim(0, 2)
    if list(source[1:]) == list(size[1:]):
        return x
    mode = 'linear' if x.ndim == 4 else 'bilinear'
    across = F.interpolate(x.flatten(1, 2), tuple(size[1:]), mode=mode, align_corners=False)
    return across.unflatten(1, x.shape[1:3])


def cells(x: Tensor, axes: int) -> Tensor:
    """Return the positions of the last axes, sorted by their place within cells of two per axis, then by cell.

    Args:
        x: (..., *spatial), even in every spatial axis.
        axes: Number of spatial axes.

    Returns:
        (..., positions).

    >>> cells(torch.arange(8).view(2, 4), axes=2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    lead = x.ndim - axes
    split = x.reshape(*x.shape[:lead], *(part for axis in x.shape[lead:] for part in (axis // 2, 2)))
    inside, outside = range(lead + 1, split.ndim, 2), range(lead, split.ndim, 2)
    return split.permute(*range(lead), *inside, *outside).flatten(lead)


class LevelMaps:
    """Logits of several levels, prepared for reading rows of them at one size.

    Levels with a transposed convolution are doubled as whole maps up to half the size. The last doubling of all these
    levels is one matrix product for a range of rows. Its result is sorted by :func:`cells`, and everything that is
    combined with it is put into the same order.

    Args:
        logits: Position to logits (N, C, *spatial); a level that is larger in every axis is averaged.
        size: Spatial size to reach.
        doublings_of: Position to the layer that doubles the level, None for a level that is interpolated.
        key: Config key of ``upsample`` for the error sentence.

    Raises:
        ConfigError: If no number of doublings reaches the size.
    """

    def __init__(
        self,
        logits: Mapping[int, Tensor],
        size: Sequence[int],
        doublings_of: Mapping[int, Doubling | None],
        key: str = 'upsample',
    ) -> None:
        self.size = tuple(size)
        self.maps: dict[int, Tensor] = {}
        self.doubled: list[int] = []
        self.params: list[Tensor] = []
        halves, kernels, biases = [], [], []
        half = [axis // 2 for axis in size]
        for at, x in logits.items():
            x, doubling = shrunk(x, size), doublings_of[at]
            if doubling is None or doublings(x.shape[2:], size, key) == 0:
                self.maps[at] = x
                continue
            assert doubling.bias is not None
            self.doubled.append(at)
            halves.append(upsampled(x, half, doubling))
            kernels.append(doubling.weight.flatten(2))
            biases.append(doubling.bias)
        self.classes = next(iter(logits.values())).shape[1]
        if halves:
            self.maps[STACK] = torch.cat(halves, dim=1)
            # (levels, input, output, places in a cell) -> (levels, output * places, input)
            self.params = [torch.stack(kernels).flatten(2).transpose(1, 2), torch.stack(biases)[:, None, :, None]]

    @property
    def granularity(self) -> int:
        """Number of which the first row of a range must be a multiple."""
        return 2 if self.doubled else 1

    def order(self, x: Tensor) -> Tensor:
        """Return (..., *spatial) in the order of the positions of :meth:`rows`."""
        return cells(x, len(self.size)) if self.doubled else x

    def rows(self, start: int, stop: int, read: ReadRows) -> dict[int, Tensor]:
        """Return rows ``[start, stop)`` of the logits of each level at the full size, all in the same order.

        Args:
            start: First row, a multiple of :attr:`granularity`.
            stop: End of the rows, exclusive.
            read: Returns rows of :attr:`maps`.
        """
        logits: dict[int, Tensor] = {}
        for at, x in self.maps.items():
            if at == STACK:
                kernel, bias = self.params
                half = read(at, start // 2, stop // 2)
                half = half.unflatten(1, (-1, self.classes)).flatten(3).transpose(0, 1)
                full = torch.matmul(kernel[:, None], half).unflatten(2, (self.classes, -1)).flatten(3) + bias
                logits |= zip(self.doubled, full.unbind(0))
            else:
                logits[at] = self.order(self._interpolated(at, x, start, stop, read))
        return logits

    def _interpolated(self, at: int, x: Tensor, start: int, stop: int, read: ReadRows) -> Tensor:
        return interpolated_rows(lambda low, high: read(at, low, high), x.shape[2:], start, stop, self.size)
