"""Readers of a batch: where each level lies on the images, and the weights of its foreground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...errors import ConfigError
from ..base import Batch
from ..locations import ground_truth_boxes, input_size, positions_on_images
from .foreground import box_foreground, cells_of_boxes, cells_of_masks, mask_foreground, released_cells

Inside = Tensor | None
"""Booleans (N, H, W) of a level, False on padding; None where no image has padding."""


def maps_on_images(levels: Sequence[Tensor], batch: Batch) -> list[Inside]:
    """Return which positions of maps lie on an image and not on its padding.

    Args:
        levels: Maps (N, C, H, W).
        batch: The batch.
    """
    found = positions_on_images(levels, batch)
    return [None if inside is None else inside.view(len(x), *x.shape[2:]) for inside, x in zip(found, levels)]


def _instances(batch: Batch, key: str, kind: str, name: str) -> list[Any]:
    """Return the ground truth of the images, None where an image has none.

    Raises:
        ConfigError: If no image has ground truth, instances lack the field, or the inputs are no images.
    """
    samples = list(batch.samples)
    instances = [getattr(sample, 'gt_instances', None) for sample in samples]
    if samples and all(truth is None for truth in instances):
        raise ConfigError(
            f"{key}.foreground is '{kind}', and the batch has no gt_instances; use it for detectors on labelled "
            'images, or set alpha=0 and beta=0'
        )
    for truth in instances:
        if truth is not None and not hasattr(truth, name):
            advice = "set foreground='boxes', or load masks (with_mask=True of LoadAnnotations)"
            if name == 'bboxes':
                advice = "load boxes (with_bbox=True of LoadAnnotations), or set foreground='masks'"
            raise ConfigError(f"{key}.foreground is '{kind}', and gt_instances has no {name}; {advice}")
    if input_size(batch) is None:
        raise ConfigError(
            f"{key}.foreground is '{kind}', which places objects on images (N, C, H, W), and the input of the network "
            'has another form; set alpha=0 and beta=0'
        )
    return instances


def boxes_of_batch(batch: Batch, levels: Sequence[Tensor], insides: Sequence[Inside], key: str) -> list[Tensor]:
    """Return the weights of the foreground of each level from the boxes of the batch, (N, H, W).

    Args:
        batch: The batch.
        levels: Maps (N, C, H, W).
        insides: Result of :func:`maps_on_images`.
        key: Config key of the distiller, for error sentences.

    Raises:
        ConfigError: If the batch has no boxes on images.
    """
    _instances(batch, key, 'boxes', 'bboxes')
    size = input_size(batch)
    assert size is not None
    boxes = ground_truth_boxes(batch, levels[0].new_empty(len(levels[0])))
    scales = []
    for level, inside in zip(levels, insides):
        # Rows and columns of each image, since its positions are a rectangle.
        limits = None if inside is None else torch.stack([inside[:, :, 0].sum(1), inside[:, 0].sum(1)], 1).to(boxes)
        grid = level.shape[2:]
        scales.append(box_foreground(cells_of_boxes(boxes, grid, size, limits), grid))
    return scales


def released_boxes_of_batch(
    batch: Batch, levels: Sequence[Tensor], insides: Sequence[Inside], key: str
) -> list[Tensor]:
    """Return the weights of the foreground of each level as the released code has them, see :func:`released_cells`."""
    _instances(batch, key, 'boxes', 'bboxes')
    boxes = ground_truth_boxes(batch, levels[0].new_empty(len(levels[0])))
    full = input_size(batch)
    assert full is not None
    sizes = boxes.new_empty(len(boxes), 2)
    for size, sample in zip(sizes, batch.samples):
        shape = getattr(sample, 'metainfo', {}).get('img_shape', full)
        size[0], size[1] = float(shape[0]), float(shape[1])
    grids = [level.shape[2:] for level in levels]
    return [box_foreground(released_cells(boxes, grid, sizes), grid) for grid in grids]


def masks_of_batch(batch: Batch, levels: Sequence[Tensor], insides: Sequence[Inside], key: str) -> list[Tensor]:
    """Return the weights of the foreground of each level from the masks of the batch, (N, H, W).

    The cells of the finest level are read from the pixels, those of the others from the finest level.

    Args:
        batch: The batch; its masks are MMDetection's, which lie on the host, or tensors (G, H, W).
        levels: Maps (N, C, H, W).
        insides: Not used, since no mask lies on padding.
        key: Config key of the distiller, for error sentences.

    Raises:
        ConfigError: If the batch has no masks of images.
    """
    instances = _instances(batch, key, 'masks', 'masks')
    size = input_size(batch)
    assert size is not None
    finest = max((level.shape[2:] for level in levels), key=lambda grid: grid[0] * grid[1])
    cells = [levels[0].new_zeros(1, *finest) for _ in range(len(levels[0]))]
    for index, truth in enumerate(instances):
        if truth is not None and len(truth.masks):
            masks = truth.masks
            if not isinstance(masks, Tensor):
                masks = masks.to_tensor(torch.uint8, levels[0].device)
            padded = F.pad(masks, (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1]))
            cells[index] = cells_of_masks(padded, finest).to(cells[index].dtype)
    every = pad_sequence(cells, batch_first=True) if cells else levels[0].new_zeros(0, 1, *finest)
    grids = [level.shape[2:] for level in levels]
    return [mask_foreground(every if grid == finest else cells_of_masks(every, grid)) for grid in grids]


Reader = Callable[[Batch, Sequence[Tensor], Sequence[Inside], str], list[Tensor]]
READERS: dict[str, Reader] = {'boxes': boxes_of_batch, 'masks': masks_of_batch}
"""Value of ``foreground`` in the config to its reader."""
