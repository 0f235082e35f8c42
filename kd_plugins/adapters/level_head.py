"""An auxiliary head on one level of a network: class logits at any larger size, whole or some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from .pointwise import PointwiseAdapter

Double = Callable[[Tensor], Tensor]
"""What doubles every spatial axis."""
Rows = Callable[[int, int], Tensor]
"""From a first row and the one after the last to these rows of a map."""


def doublings(size: Sequence[int], target: Sequence[int]) -> int | None:
    """Return how often every axis has to be doubled to reach the target, ``None`` where no number of times does.

    >>> doublings((4, 5), (32, 40)), doublings((4, 5), (4, 5)), doublings((4, 5), (32, 41)), doublings((4, 4), (2, 2))
    (3, 0, None, None)
    """
    times = 0
    while size[0] * 2**times < target[0]:
        times += 1
    return times if [axis * 2**times for axis in size] == list(target) else None


def interpolated_rows(read: Rows, source: Sequence[int], start: int, stop: int, size: Sequence[int]) -> Tensor:
    """Return rows ``[start, stop)`` of what (bi-, tri-)linear interpolation of a map to ``size`` gives.

    Equal to ``F.interpolate(x, size, mode=..., align_corners=False)[:, :, start:stop]`` up to rounding.

    Args:
        read: Gives rows of the map (N, C, *spatial) with two or three spatial axes; rows are entries of the first.
        source: Spatial size of the map.
        start: First row of the result.
        stop: The one after its last.
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
        # Each row mixes two: a small matrix of hat functions spares an indexed read, whose gradient is not exact to
        # the last bit on a GPU.
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


def shrunk(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return means over the parts of ``x`` that fall into each of ``size`` cells, if no axis of ``x`` is smaller.

    Args:
        x: (N, C, *spatial), two or three spatial axes; returned as it is where an axis has fewer entries than cells.
        size: Number of cells of each axis.

    >>> shrunk(torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]), (1, 1)).item()
    3.0
    """
    if x.shape[2:] == torch.Size(size) or any(axis < cells for axis, cells in zip(x.shape[2:], size)):
        return x
    pool: Callable[..., Tensor] = F.adaptive_avg_pool2d if x.ndim == 4 else F.adaptive_avg_pool3d
    return pool(x, list(size))


def prepared(x: Tensor, size: Sequence[int], double: Double | None = None) -> Tensor:
    """Return a map as near to another size as it can be kept whole without needing much room.

    Args:
        x: (N, C, *spatial).
        size: Spatial size to reach with :func:`upsampled_rows`; a map that is larger in every axis is averaged.
        double: What doubles every axis, of which the last application is left; ``None`` where rows are interpolated.

    Raises:
        ConfigError: If no number of doublings reaches the size.
    """
    x = shrunk(x, size)
    times = 0 if double is None else doublings(x.shape[2:], size)
    if times is None:
        sizes = ' and '.join('x'.join(map(str, axes)) for axes in (x.shape[2:], size))
        raise ConfigError(
            f"upsample is 'deconv', which doubles every axis, and no number of doublings leads from {sizes}; "
            "use upsample='interpolate'"
        )
    for _ in range(times - 1):
        assert double is not None
        x = double(x)
    return x


def upsampled_rows(
    read: Rows, source: Sequence[int], start: int, stop: int, size: Sequence[int], double: Double | None = None
) -> Tensor:
    """Return rows ``[start, stop)`` of a prepared map at its full size.

    Args:
        read: Gives rows of the map (N, C, *spatial) from :func:`prepared`; rows are entries of the first spatial axis.
        source: Its spatial size.
        start: First row of the result.
        stop: The one after its last.
        size: Spatial size of the whole result.
        double: Maps (N, C, *spatial) to (N, C, *twice), each row to its own two; ``None`` interpolates.

    >>> x = torch.arange(4.0).view(1, 1, 2, 2)
    >>> twice = lambda x: F.interpolate(x, scale_factor=2)
    >>> upsampled_rows(lambda a, b: x[:, :, a:b], (2, 2), 1, 3, (4, 4), twice).tolist()
    [[[[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]]]]
    """
    if list(source) == list(size):
        return read(start, stop)
    if double is None:
        return interpolated_rows(read, source, start, stop, size)
    first = start // 2
    return double(read(first, (stop + 1) // 2))[:, :, start - 2 * first : stop - 2 * first]


def upsampled(x: Tensor, size: Sequence[int], double: Double | None = None) -> Tensor:
    """Return the whole map at another size, see :func:`prepared`."""
    x = prepared(x, size, double)
    return upsampled_rows(lambda start, stop: x[:, :, start:stop], x.shape[2:], 0, size[0], size, double)


class LevelHead(nn.Module):
    """Class logits from the features of one level: a 1x1 convolution, then upsampling.

    Args:
        in_channels: Channels of the level.
        num_classes: Channels of the logits.
        spatial_dims: 2 or 3.
        upsample: ``'deconv'``: one transposed convolution of stride and kernel 2 that is applied as often as needed,
            as DSD's ``DeepUp`` (soumbane/DualSelfDistillation, ``networks/*/deepUp.py``). It starts as
            nearest-neighbour upsampling; the release starts it at random, which shrinks the logits at each step.
            ``'interpolate'``: linear interpolation.

    >>> LevelHead(8, 2, spatial_dims=2)(torch.zeros(1, 8, 4, 4), (16, 16)).shape
    torch.Size([1, 2, 16, 16])
    """

    def __init__(self, in_channels: int, num_classes: int, spatial_dims: int, upsample: str = 'deconv') -> None:
        super().__init__()
        self.projection = PointwiseAdapter(in_channels, num_classes)
        self.doubling: nn.ConvTranspose2d | nn.ConvTranspose3d | None = None
        if upsample == 'deconv':
            kind = nn.ConvTranspose2d if spatial_dims == 2 else nn.ConvTranspose3d
            self.doubling = kind(num_classes, num_classes, kernel_size=2, stride=2)
            same = torch.eye(num_classes).view(num_classes, num_classes, *[1] * spatial_dims)
            with torch.no_grad():
                self.doubling.weight.copy_(same.expand_as(self.doubling.weight))
                nn.init.zeros_(self.doubling.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Return logits (N, C, *size) of features (N, in_channels, *spatial).

        A level that is larger in every axis is averaged.

        Raises:
            ConfigError: If no number of doublings reaches the size.
        """
        return upsampled(self.projection(x), size, self.doubling)


class LevelHeads(nn.Module):
    """Heads of several levels.

    Args:
        levels: Position to features (N, C, *spatial) of the levels that get a head, on the heads' device.
        num_classes: Channels of the logits.
        upsample: See :class:`LevelHead`.
        share: Whether levels of equal channels and size share a head.
    """

    def __init__(
        self, levels: Mapping[int, Tensor], num_classes: int, upsample: str = 'deconv', share: bool = False
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList()
        self.member_of: dict[int, int] = {}
        kinds: dict[Sequence[int], int] = {}
        for position, level in levels.items():
            kind = level.shape[1:] if share else (position,)
            if kind not in kinds:
                kinds[kind] = len(kinds)
                self.members.append(LevelHead(level.shape[1], num_classes, level.ndim - 2, upsample).to(level))
            self.member_of[position] = kinds[kind]

    def _head(self, position: int) -> LevelHead:
        head = self.members[self.member_of[position]]
        assert isinstance(head, LevelHead)
        return head

    def project(self, levels: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return position to logits at the size of the features, of the levels that have a head."""
        return {position: self._head(position).projection(levels[position]) for position in self.member_of}

    def upsampling_parameters(self) -> list[nn.Parameter]:
        """Return those of :meth:`doubling_of`, of all levels."""
        doublings = [self._head(at).doubling for at in self.member_of]
        return list(dict.fromkeys(param for found in doublings if found is not None for param in found.parameters()))

    def doubling_of(self, at: int) -> Double | None:
        """Return what doubles the logits of a level; None for one that is interpolated, or has no head."""
        return self._head(at).doubling if at in self.member_of else None

    def whole(self, logits: Mapping[int, Tensor], size: Sequence[int]) -> dict[int, Tensor]:
        """Return position to the logits of every level at one size; a larger level is averaged."""
        return {at: upsampled(x, size, self.doubling_of(at)) for at, x in logits.items()}


class LevelHints(nn.Module):
    """Maps from the features of shallower levels to the channels of the deepest (FitNets, arXiv 1412.6550).

    Args:
        levels: Features (N, C, *spatial), the deepest last.
        size: Positions per axis over which features are averaged before; None keeps those of the deepest.

    >>> hints = LevelHints([torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 4, 4)])
    >>> [(ours.shape, theirs.shape) for ours, theirs in hints([torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 4, 4)])]
    [(torch.Size([1, 6, 1, 1]), torch.Size([1, 6, 1, 1]))]
    """

    def __init__(self, levels: Sequence[Tensor], size: int | None = 1) -> None:
        super().__init__()
        *shallower, deepest = levels
        self.size = size
        self.members = nn.ModuleList(PointwiseAdapter(x.shape[1], deepest.shape[1]).to(x) for x in shallower)

    def forward(self, levels: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return for every shallower level its mapped features and those of the deepest, of equal shape."""
        *shallower, deepest = levels
        wanted = [axis if self.size is None else self.size for axis in deepest.shape[2:]]
        pairs = []
        for adapter, x in zip(self.members, shallower):
            size = [min(axes) for axes in zip(wanted, x.shape[2:], deepest.shape[2:])]
            # The map is linear, so that the mean comes first.
            pairs.append((adapter(shrunk(x, size)), shrunk(deepest, size)))
        return pairs
