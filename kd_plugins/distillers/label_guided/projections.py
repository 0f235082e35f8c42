"""Linear maps between the channels of a pyramid's levels and a common number of channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class LevelProjections(nn.Module):
    """A linear map of each level to a common number of channels, and one back.

    Args:
        channels: Channels of each level.
        inner: The common number.

    >>> import torch
    >>> projections = LevelProjections([3, 5], 4)
    >>> [x.shape[1] for x in projections.enter([torch.zeros(1, 3, 2, 2), torch.zeros(1, 5, 1, 1)])]
    [4, 4]
    >>> [x.shape[1] for x in projections.leave([torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 1, 1)])]
    [3, 5]
    """

    def __init__(self, channels: Sequence[int], inner: int) -> None:
        super().__init__()
        self.inward = nn.ModuleList(nn.Conv2d(one, inner, 1) for one in channels)
        self.outward = nn.ModuleList(nn.Conv2d(inner, one, 1) for one in channels)

    def enter(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map levels (N, C of the level, H, W) to (N, inner, H, W)."""
        return [layer(x) for layer, x in zip(self.inward, levels)]

    def leave(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map levels (N, inner, H, W) to (N, C of the level, H, W)."""
        return [layer(x) for layer, x in zip(self.outward, levels)]
