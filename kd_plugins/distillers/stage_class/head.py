"""Class head of a stage of a backbone."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...ops.map_norm import normalized_images


def resized_mask(mask: Tensor | None, size: tuple[int, ...]) -> Tensor | None:
    """Return which cells of a map lie on the images, each by its first pixel.

    Args:
        mask: Booleans for each pixel, (N, 1, H, W); None where no image has padding.
        size: Height and width of the map.
    """
    return None if mask is None else F.interpolate(mask.float(), size, mode='nearest') > 0


class StageHead(nn.Module):
    """Logits of an image from the map of a stage: as many halvings as the later stages have, a mean, a linear layer.

    Each halving is a 3x3 convolution of stride 2, normalised over each image, with ReLU. It stands for the stages that
    follow, which HSAKD (arXiv 2107.13715) copies. The layers see 0 on padding, and the mean leaves it out.

    Args:
        in_channels: Channels of the map.
        width: Channels of the convolutions.
        outputs: Number of logits.
        halvings: Number of halvings, from the size of the map to below that of the deepest stage; at least 1.

    >>> import torch
    >>> StageHead(3, 8, 5, halvings=2)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 5])
    """

    def __init__(self, in_channels: int, width: int, outputs: int, halvings: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width if index else in_channels, width, 3, stride=2, padding=1) for index in range(halvings)
        )
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (N, outputs) of a map (N, C, H, W).

        Args:
            x: The map.
            mask: Booleans for each pixel of the input, (N, 1, H, W), False on padding; None where there is none.
        """
        inside = resized_mask(mask, tuple(x.shape[2:]))
        for convolution in self.convolutions:
            x = convolution(x if inside is None else x * inside.to(x.dtype))
            inside = resized_mask(mask, tuple(x.shape[2:]))
            x = normalized_images(x, inside).relu()
        if inside is None:
            logits: Tensor = self.linear(x.mean(dim=(2, 3)))
            return logits
        cells = inside.to(x.dtype)
        pooled: Tensor = self.linear((x * cells).sum(dim=(2, 3)) / cells.sum(dim=(2, 3)).clamp(min=1.0))
        return pooled
