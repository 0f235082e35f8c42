"""Layers between the student's maps and the distance from the instructive ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .instructor import Inside, MapLayers, masked
from .projections import LevelProjections


class MapAdapter(MapLayers):
    """Three convolutions, shared by the levels, with a linear map before and after each level where they differ.

    Args:
        channels: Channels of the map of each level.
        inner: Channels inside; None: those of the maps, the same in all levels.
    """

    def __init__(self, channels: Sequence[int], inner: int | None = None) -> None:
        super().__init__(channels[0] if inner is None else inner, 3, normalized=False)
        self.projections = None if inner is None else LevelProjections(channels, inner)

    def adapted(self, levels: Sequence[Tensor], insides: Sequence[Inside]) -> list[Tensor]:
        """Return maps of the same shapes, 0 on padding."""
        if self.projections is None:
            return [self(x, inside) for x, inside in zip(levels, insides)]
        inner = [self(x, inside) for x, inside in zip(self.projections.enter(levels), insides)]
        return [masked(x, inside) for x, inside in zip(self.projections.leave(inner), insides)]
