"""Boxes of RT-DETR's decoder layers, by which each layer shifts those of the layer before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..dfine.refinement import shift_in_logit_space


class LookForwardTwice:
    """Boxes of one pass through the decoder, which calls this after each layer.

    Layer ``l`` shifts the box before it by ``d_l``. The next layer starts from ``sigmoid(d_l + logit(sg(box_l-1)))``;
    the losses see ``sigmoid(d_l + logit(box_l-1))``, which is the same number, and whose gradient also reaches the
    layer before, but no further.

    Sources: DINO (arXiv 2203.03605, section 3.5); lyuwenyu/RT-DETR, ``TransformerDecoder.forward``.

    Args:
        branches: Box branches of the layers, (..., C) -> (..., 4).
    """

    def __init__(self, branches: Sequence[nn.Module] | nn.ModuleList) -> None:
        self.branches = branches
        self.previous: Tensor | None = None
        self.boxes: list[Tensor] = []

    def __call__(self, hidden: Tensor, reference: Tensor) -> Tensor:
        """Refine the boxes by one layer.

        Args:
            hidden: Queries after the layer, (N, Q, C).
            reference: Reference boxes of the layer, without gradient, (N, Q, 4).

        Returns:
            Reference boxes of the next layer, (N, Q, 4), without gradient.
        """
        shift = self.branches[len(self.boxes)](hidden)
        moved = shift_in_logit_space(shift, reference)
        self.boxes.append(moved if self.previous is None else shift_in_logit_space(shift, self.previous))
        self.previous = moved
        return moved.detach()

    def result(self) -> Tensor:
        """Return the boxes of all layers, (L, N, Q, 4)."""
        return torch.stack(self.boxes)


__all__ = ['LookForwardTwice']
