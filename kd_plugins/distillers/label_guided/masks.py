"""Masks of instances: the cells that they cover, and small pictures of them for the descriptors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...errors import ConfigError
from ..base import Batch
from ..locations import input_size
from .boxes import Boxes, cells_in_boxes
from .objects import cells_by_share, on_images

STEP = 4
"""Width in pixels of the cells in which the share of a mask is kept."""
SIDE = 7
"""Width and height of the picture of a mask in a descriptor."""


def mask_shares(batch: Batch, like: Tensor, key: str) -> Tensor:
    """Return the share of each cell of :data:`STEP` pixels that each mask covers.

    Args:
        batch: Its data samples hold ``gt_instances.masks``, as MMDetection packs them, or tensors (G, H, W).
        like: A tensor with the dtype and device of the result.
        key: Config key of the distiller, for the error sentence.

    Returns:
        Shape (N, G, H / 4, W / 4), rounded up, G >= 1, 0 for padding.

    Raises:
        ConfigError: If the images have no masks.
    """
    size = input_size(batch)
    instances: list[Any] = [getattr(sample, 'gt_instances', None) for sample in batch.samples]
    if size is None or any(not hasattr(one, 'masks') for one in instances):
        raise ConfigError(
            f'{key}.masks is True, and the data samples give no gt_instances.masks; use masks=False, or a pipeline '
            'with LoadAnnotations(with_mask=True)'
        )
    grid = (math.ceil(size[0] / STEP), math.ceil(size[1] / STEP))
    rows = []
    for one in instances:
        masks = _tensor(one.masks, like)
        below, right = (side - have for side, have in zip(size, masks.shape[1:]))
        # A mask at a time: the pixels of all masks of a crowd are too many for one tensor of numbers.
        pooled = [
            F.interpolate(F.pad(mask.to(like), (0, right, 0, below))[None, None], grid, mode='area') for mask in masks
        ]
        rows.append(torch.cat(pooled)[:, 0] if pooled else like.new_zeros(1, *grid))
    return pad_sequence(rows, batch_first=True)


def _tensor(masks: Any, like: Tensor) -> Tensor:
    """Return masks as a tensor of bytes, (G, H, W)."""
    if isinstance(masks, Tensor):
        return masks.to(like.device, torch.uint8)
    converted: Tensor = masks.to_tensor(torch.uint8, like.device)
    return converted


def cells_in_masks(
    shares: Tensor,
    boxes: Boxes,
    grid: Sequence[int],
    size: Sequence[float],
    inside: Tensor | None = None,
    reference: bool = False,
) -> Tensor:
    """Return which cells of a map each mask covers; an object without a mask, such as the context, covers its box.

    Args:
        shares: From :func:`mask_shares`, of the same objects; the context has none.
        boxes: The boxes.
        grid: Height and width of the map.
        size: Height and width in pixels of what the map covers, the input with its padding.
        inside: Booleans of shape (N, 1, H, W), False on padding; or None.
        reference: Whether a cell counts by its first pixel, as in the release, and not by the share that is covered.

    Returns:
        Shape (N, G, H, W) with 1 and 0, all 0 for padding.
    """
    whole = cells_in_boxes(boxes, grid, size, inside, reference)
    finer = any(cells > side for cells, side in zip(grid, shares.shape[2:]))
    resized = F.interpolate(shares, tuple(grid), mode='nearest' if reference or finer else 'area')
    covered = on_images(resized > 0.5 if reference else cells_by_share(resized), inside)
    covered = covered & boxes.valid[..., None, None]
    masked = covered.flatten(2).any(dim=-1)[..., None, None]
    return torch.where(masked, covered.to(whole.dtype), whole)


def mask_pictures(shares: Tensor, boxes: Boxes, size: Sequence[float]) -> Tensor:
    """Return the masks in their boxes as pictures of :data:`SIDE` x :data:`SIDE` numbers from 0 to 1.

    The numbers are read at the centres of equal parts of the box. The context has a picture full of 1.

    Args:
        shares: From :func:`mask_shares`, of the same objects.
        boxes: The boxes.
        size: Height and width of the input in pixels.

    Returns:
        Shape (N, G, 49).
    """
    part = (torch.arange(SIDE, device=shares.device, dtype=shares.dtype) + 0.5) / SIDE
    low, high = boxes.corners[..., :2], boxes.corners[..., 2:]
    places = low[..., None, :] + part[:, None] * (high - low)[..., None, :]
    extent = shares.new_tensor([size[1], size[0]])
    x, y = (2.0 * places / extent - 1.0).unbind(dim=-1)
    grid = torch.stack(torch.broadcast_tensors(x[..., None, :], y[..., :, None]), dim=-1)
    read = F.grid_sample(shares.flatten(0, 1)[:, None], grid.flatten(0, 1), padding_mode='border', align_corners=False)
    pictures = read.view(*shares.shape[:2], SIDE * SIDE)
    return torch.where((boxes.real | ~boxes.valid)[..., None], pictures, torch.ones_like(pictures))
