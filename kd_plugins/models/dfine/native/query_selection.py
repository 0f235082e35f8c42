"""Selection of the positions of the encoder's memory that become queries.

Source: Peterande/D-FINE, ``src/zoo/dfine/dfine_decoder.py`` (``_generate_anchors``, ``_get_decoder_input``). Shapes: N
images, P positions of all levels, C channels, K queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SIZE = 0.05
"""Side of an anchor on the finest level, relative to the image; it doubles from level to level."""
MARGIN = 0.01
"""Least distance of centre and size of a valid anchor to 0 and 1."""


class Anchors(NamedTuple):
    """One box for each position; ``N`` is 1 if they are the same for all images."""

    logits: Tensor
    """Logits of (cx, cy, w, h), (N, P, 4); infinite where the anchor is not valid."""
    valid: Tensor
    """Whether an anchor lies inside the image, (N, P, 1)."""


def anchors(
    shapes: Sequence[tuple[int, int]],
    device: torch.device | str = 'cpu',
    dtype: torch.dtype = torch.float32,
    valid_ratios: Tensor | None = None,
    mask: Tensor | None = None,
) -> Anchors:
    """Return the anchors of a feature pyramid; cell (i, j) of level l has ((j + .5) / w, (i + .5) / h, s, s).

    They are computed for each shape, so that the detector takes images of any size.

    Args:
        shapes: Height and width of each level, from the detector's finest to its coarsest.
        device: Device of the result.
        dtype: Dtype of the result.
        valid_ratios: Width and height of each image relative to the padded map, (N, levels, 2).
        mask: Padded positions, (N, P).

    >>> anchors([(1, 2)]).logits.sigmoid()
    tensor([[[0.2500, 0.5000, 0.0500, 0.0500],
             [0.7500, 0.5000, 0.0500, 0.0500]]])
    """
    levels = []
    for level, (height, width) in enumerate(shapes):
        y = (torch.arange(height, device=device, dtype=dtype) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=dtype) + 0.5) / width
        centers = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1).view(1, -1, 2)
        if valid_ratios is not None:
            centers = centers / valid_ratios[:, level, None]
        levels.append(torch.cat([centers, torch.full_like(centers, SIZE * 2.0**level)], dim=-1))
    boxes = torch.cat(levels, dim=1)
    valid = ((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(dim=-1, keepdim=True)
    if mask is not None:
        valid = valid & ~mask[..., None]
    return Anchors((boxes / (1 - boxes)).log().masked_fill(~valid, torch.inf), valid)


def best_positions(scores: Tensor, number: int) -> Tensor:
    """Return the positions with the highest score of any class, best first, (N, K).

    Args:
        scores: Class logits, (N, P, classes).
        number: K; images with fewer positions take all.
    """
    return scores.amax(dim=-1).topk(min(number, scores.shape[1]), dim=1).indices


def take(values: Tensor, positions: Tensor) -> Tensor:
    """Return the rows of some positions, (N, K, C).

    Args:
        values: (N, P, C), or (1, P, C) for the same values in every image.
        positions: (N, K).
    """
    if values.shape[0] < positions.shape[0]:
        return values[0][positions]
    return values.gather(1, positions[..., None].expand(-1, -1, values.shape[-1]))


__all__ = ['Anchors', 'anchors', 'best_positions', 'take']
