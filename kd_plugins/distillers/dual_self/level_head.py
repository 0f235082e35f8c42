"""Auxiliary heads on the levels of a network: class logits at any larger size, and pairs of features (hints)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ...adapters import PointwiseAdapter
from ...ops.resizing import without_padding
from .level_maps import Doubling, shrunk, upsampled


class LevelHead(nn.Module):
    """Class logits from the features of one level: a 1x1 convolution, then upsampling.

    Args:
        in_channels: Channels of the level.
        num_classes: Channels of the logits.
        spatial_dims: 2 or 3.
        upsample: ``'deconv'``: one transposed convolution of stride and kernel 2 that is applied as often as needed,
            like ``DeepUp`` of DSD (soumbane/DualSelfDistillation, ``networks/*/deepUp.py``). It is initialized to
            nearest-neighbour upsampling; the random initialization of the release shrinks the logits at each step.
            ``'interpolate'``: linear interpolation.
        key: Config key of ``upsample`` for the error sentence.

    >>> LevelHead(8, 2, spatial_dims=2)(torch.zeros(1, 8, 4, 4), (16, 16)).shape
    torch.Size([1, 2, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        spatial_dims: int,
        upsample: str = 'deconv',
        key: str = 'upsample',
    ) -> None:
        super().__init__()
        self.key = key
        self.projection = PointwiseAdapter(in_channels, num_classes)
        self.doubling: Doubling | None = None
        if upsample == 'deconv':
            convolution = nn.ConvTranspose2d if spatial_dims == 2 else nn.ConvTranspose3d
            self.doubling = convolution(num_classes, num_classes, kernel_size=2, stride=2)
            identity = torch.eye(num_classes).view(num_classes, num_classes, *[1] * spatial_dims)
            with torch.no_grad():
                self.doubling.weight.copy_(identity.expand_as(self.doubling.weight))
                nn.init.zeros_(self.doubling.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Return logits (N, C, *size) of features (N, in_channels, *spatial).

        A level that is larger in every axis is averaged.

        Raises:
            ConfigError: If no number of doublings reaches the size.
        """
        return upsampled(self.projection(x), size, self.doubling, self.key)


class LevelHeads(nn.Module):
    """Heads of several levels.

    Args:
        levels: Position to features (N, C, *spatial) of the levels that get a head, on the heads' device.
        num_classes: Channels of the logits.
        upsample: See :class:`LevelHead`.
        share: Whether levels of equal channels and size share a head.
        key: Config key of ``upsample`` for error sentences.

    Attributes:
        members: The heads.
        member_of: Position of a level to the index of its head.
    """

    def __init__(
        self,
        levels: Mapping[int, Tensor],
        num_classes: int,
        upsample: str = 'deconv',
        share: bool = False,
        key: str = 'upsample',
    ) -> None:
        super().__init__()
        self.key = key
        self.members = nn.ModuleList()
        self.member_of: dict[int, int] = {}
        # Levels with the same entry share a head.
        indices: dict[Sequence[int], int] = {}
        for position, level in levels.items():
            shared_by = level.shape[1:] if share else (position,)
            if shared_by not in indices:
                indices[shared_by] = len(indices)
                head = LevelHead(level.shape[1], num_classes, level.ndim - 2, upsample, key)
                self.members.append(head.to(level))
            self.member_of[position] = indices[shared_by]

    def _head(self, position: int) -> LevelHead:
        head = self.members[self.member_of[position]]
        assert isinstance(head, LevelHead)
        return head

    def project(self, levels: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the logits at the size of the features, by position, of the levels that have a head."""
        return {position: self._head(position).projection(levels[position]) for position in self.member_of}

    def doublings(self, positions: Iterable[int]) -> dict[int, Doubling | None]:
        """Return the layer that doubles the logits of each level, None for a level that is interpolated."""
        return {at: self._head(at).doubling if at in self.member_of else None for at in positions}

    def whole(self, logits: Mapping[int, Tensor], size: Sequence[int]) -> dict[int, Tensor]:
        """Return the logits of every level at one size, by position; a larger level is averaged."""
        return {at: upsampled(logits[at], size, doubling, self.key) for at, doubling in self.doublings(logits).items()}


class LevelHints(nn.Module):
    """Linear maps from the features of shallower levels to the channels of the deepest (FitNets, arXiv 1412.6550).

    Args:
        levels: Features (N, C, *spatial), the deepest last.
        size: Positions per axis that features are averaged to first; None keeps the size of the deepest level.

    >>> hints = LevelHints([torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 4, 4)])
    >>> ((mapped, deepest, _),) = hints([torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 4, 4)])
    >>> mapped.shape, deepest.shape
    (torch.Size([1, 6, 1, 1]), torch.Size([1, 6, 1, 1]))
    """

    def __init__(self, levels: Sequence[Tensor], size: int | None = 1) -> None:
        super().__init__()
        *shallower, deepest = levels
        self.size = size
        self.members = nn.ModuleList(PointwiseAdapter(x.shape[1], deepest.shape[1]).to(x) for x in shallower)

    def forward(
        self, levels: Sequence[Tensor], insides: Sequence[Tensor | None] | None = None
    ) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        """Return the mapped features of every shallower level with those of the deepest, of equal shape.

        Args:
            levels: Features (N, C, *spatial), the deepest last.
            insides: For each level, booleans (N, P) over its P positions, False on the padding of an image, which no
                mean counts; or None. None counts all of all levels.

        Returns:
            Both features, and which of their positions lie on an image, (N, P), None for all.
        """
        masks: Sequence[Tensor | None] = [None] * len(levels) if insides is None else insides
        largest = [axis if self.size is None else self.size for axis in levels[-1].shape[2:]]
        pairs = []
        for adapter, x, inside in zip(self.members, levels[:-1], masks):
            size = [min(axes) for axes in zip(largest, x.shape[2:], levels[-1].shape[2:])]
            # The map is linear, so the features can be averaged first, which is cheaper.
            (mine, here), (taught, there) = (
                without_padding(*pair, partial(shrunk, size=size)) for pair in ((x, inside), (levels[-1], masks[-1]))
            )
            pairs.append((adapter(mine), taught, None if here is None or there is None else here & there))
        return pairs
