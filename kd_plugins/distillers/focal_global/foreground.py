"""Weights of the foreground of feature maps, from boxes or masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64
"""Boxes or masks of an image that are compared with its map at a time."""
PIXELS = 2**24
"""Pixels of masks that are reduced to cells at a time."""


class CellRange(NamedTuple):
    """The cells of boxes, as integers in floating point.

    Attributes:
        columns: First and last column of each box, (N, G, 2).
        rows: First and last row of each box, (N, G, 2).
        sizes: Number of the cells of each box, (N, G), 0 for a box that contains none.
    """

    columns: Tensor
    rows: Tensor
    sizes: Tensor


def _cell_range(low: Tensor, high: Tensor, last: Tensor | None) -> Tensor:
    first, end = low.floor(), high.ceil()
    if last is not None:
        first, end = first.clamp(min=0), torch.minimum(end, last[:, None])
    return torch.stack([first, end], dim=-1)


def cells_of_boxes(
    boxes: Tensor, grid: Sequence[int], size: Sequence[float], limits: Tensor | None = None
) -> CellRange:
    """Return the cells of boxes: from the cell of a box's first corner to that of its second, rounded outwards.

    A box (8, 8, 24, 24) on a map of stride 8 has the cells 1 to 3 in both directions, whose locations, 8 to 24, are
    those of a head without offset. The release (arXiv 2111.11837) takes the same ones.

    Args:
        boxes: Corners in pixels, (N, G, 4); boxes without area have no cells.
        grid: Height and width of the map.
        size: Height and width in pixels of what the map covers, the input with its padding.
        limits: Rows and columns of the map on each image, (N, 2), at which boxes end; None is the whole map.

    >>> cells_of_boxes(torch.tensor([[[8.0, 8.0, 24.0, 20.0]]]), (4, 4), (32, 32))
    CellRange(columns=tensor([[[1., 3.]]]), rows=tensor([[[1., 3.]]]), sizes=tensor([[9.]]))
    """
    if limits is None:
        limits = torch.stack([boxes.new_full(boxes.shape[:1], float(cells)) for cells in grid], dim=1)
    # A product before the quotient is exact where an edge lies on the border of a cell.
    places = torch.stack([boxes[..., index] * grid[1 - index % 2] / size[1 - index % 2] for index in range(4)], dim=-1)
    columns = _cell_range(places[..., 0], places[..., 2], limits[:, 1] - 1)
    rows = _cell_range(places[..., 1], places[..., 3], limits[:, 0] - 1)
    return _counted(boxes, columns, rows)


def released_cells(boxes: Tensor, grid: Sequence[int], sizes: Tensor) -> CellRange:
    """Return the cells of boxes as in the released code, which stretches them on padded images.

    It divides by the size of the image without padding and multiplies by the size of the map with padding, and counts
    cells beyond the map as well.

    Args:
        boxes: Corners in pixels, (N, G, 4); boxes without area have no cells.
        grid: Height and width of the map.
        sizes: Height and width of each image in pixels, (N, 2).
    """
    places = [boxes[..., index] / sizes[:, 1 - index % 2, None] * grid[1 - index % 2] for index in range(4)]
    columns, rows = _cell_range(places[0], places[2], None), _cell_range(places[1], places[3], None)
    return _counted(boxes, columns, rows)


def _counted(boxes: Tensor, columns: Tensor, rows: Tensor) -> CellRange:
    count = (columns.diff(dim=-1) + 1).clamp(min=0) * (rows.diff(dim=-1) + 1).clamp(min=0)
    has_area = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
    return CellRange(columns, rows, torch.where(has_area, count[..., 0], 0))


def _inverse(count: Tensor) -> Tensor:
    """Return 1 / count, 0 for 0."""
    return (count > 0) / count.clamp(min=1)


def _maximum(scale: Tensor, objects: Tensor) -> Tensor:
    """Return the maximum of (N, H, W) and the weights of further objects (N, G, H, W), of which there may be none."""
    return torch.maximum(scale, objects.amax(dim=1)) if objects.shape[1] else scale


def box_foreground(cells: CellRange, grid: Sequence[int], chunk: int = CHUNK) -> Tensor:
    r"""Return the weights of the foreground (FGD, arXiv 2111.11837, eq. 1 and 2).

    .. math:: M_i = \max_{b \ni i} \frac{1}{\text{number of cells of } b}

    The smallest of several objects counts, so that each object has a share of its own.

    Args:
        cells: Cells of the boxes of each image.
        grid: Height and width of the map.
        chunk: Boxes of an image to compare with its map at a time; the result does not depend on it.

    Returns:
        (N, H, W), 0 where no box is.

    >>> cells = cells_of_boxes(torch.tensor([[[0.0, 0.0, 1.0, 0.5]]]), (2, 3), (2, 3))
    >>> box_foreground(cells, (2, 3))
    tensor([[[0.2500, 0.2500, 0.0000],
             [0.2500, 0.2500, 0.0000]]])
    """
    scale = cells.sizes.new_zeros(len(cells.sizes), *grid)
    places = [torch.arange(length, device=scale.device, dtype=scale.dtype) for length in grid]
    for columns, rows, count in zip(*(part.split(chunk, dim=1) for part in cells)):
        in_row, in_column = (
            (place >= ends[..., :1]) & (place <= ends[..., 1:]) for place, ends in zip(places, (rows, columns))
        )
        in_box = (in_row * _inverse(count)[..., None])[..., :, None] * in_column[..., None, :]
        scale = _maximum(scale, in_box)
    return scale


def cells_of_masks(masks: Tensor, grid: Sequence[int], pixels: int = PIXELS) -> Tensor:
    """Return which cells of a map contain a pixel of each mask.

    Args:
        masks: (..., H, W) on the pixels of the input, or on the cells of a finer map; not 0 in the mask.
        grid: Height and width of the map.
        pixels: Pixels to reduce at a time; the result does not depend on it.

    Returns:
        (..., h, w), float32, 1 or 0.

    >>> cells_of_masks(torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 0]]]), (1, 2))
    tensor([[[0., 1.]]])
    """
    flat = masks.flatten(0, -3)
    step = max(1, pixels // max(flat.shape[1] * flat.shape[2], 1))
    parts = [F.adaptive_max_pool2d((part != 0).float()[:, None], (grid[0], grid[1])) for part in flat.split(step)]
    return torch.cat(parts).view(*masks.shape[:-2], *grid)


def mask_foreground(cells: Tensor, chunk: int = CHUNK) -> Tensor:
    """Return the weights of the foreground from the cells of masks, as :func:`box_foreground` does from boxes.

    Args:
        cells: Cells of the masks of each image, (N, G, h, w), 1 or 0.
        chunk: Masks of an image to weigh at a time; the result does not depend on it.

    Returns:
        (N, h, w).
    """
    scale = cells.new_zeros(cells.shape[0], *cells.shape[2:])
    for part in cells.split(chunk, dim=1):
        weighed = part * _inverse(part.sum(dim=(2, 3)))[..., None, None]
        scale = _maximum(scale, weighed)
    return scale
