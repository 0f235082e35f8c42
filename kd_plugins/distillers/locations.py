"""Locations of dense heads: grids of the levels, padding, and the ground truth around each location."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..errors import ConfigError
from ..ops.boxes import area, centers_inside
from ..ops.rectangles import picture_sizes
from .base import Batch

Grid = tuple[tuple[float, float], tuple[float, float]]
"""Stride (x, y) and first location (x, y) of one level, in pixels."""


def level_grids(prior_generator: Any) -> list[Grid]:
    """Return the grid of locations of each level of a head.

    Args:
        prior_generator: An ``AnchorGenerator`` (locations are the centres of its anchors) or a point generator.
    """
    strides = [tuple(float(step) for step in stride) for stride in prior_generator.strides]
    if hasattr(prior_generator, 'base_anchors'):
        corners = [anchors[0].tolist() for anchors in prior_generator.base_anchors]
        first = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in corners]
    else:
        offset = float(getattr(prior_generator, 'offset', 0.0))
        first = [(offset * x, offset * y) for x, y in strides]
    return [((x, y), start) for (x, y), start in zip(strides, first)]


def location_rows(levels: Sequence[Tensor], channel_dim: int = 1, anchors: int = 1) -> Tensor:
    """Return the outputs of all locations of all levels, one row each.

    Args:
        levels: Outputs, (N, C) or (N, C, *spatial) or (N, L, C).
        channel_dim: Dimension of the channels.
        anchors: Number of anchors that share the channels of a cell; each one is a location.

    Returns:
        Shape (N, L * anchors, C / anchors), locations in row-major order, the anchors of a cell one after another.

    >>> location_rows([torch.zeros(2, 6, 3, 4), torch.zeros(2, 6, 1, 2)], anchors=2).shape
    torch.Size([2, 28, 3])
    """
    last = [level.movedim(channel_dim, -1) for level in levels]
    rows = torch.cat([level[:, None] if level.ndim == 2 else level.flatten(1, -2) for level in last], dim=1)
    return rows.unflatten(2, (anchors, rows.shape[2] // anchors)).flatten(1, 2)


def grid_locations(levels: Sequence[Tensor], grids: Sequence[Grid]) -> tuple[Tensor, Tensor]:
    """Return centres (x, y) and strides (x, y) of all locations, each of shape (L, 2), in pixels.

    Args:
        levels: A map (N, C, H, W) of each level, for its size, dtype and device.
        grids: Grid of each level.

    >>> centers, strides = grid_locations([torch.zeros(1, 1, 1, 2)], [((8.0, 8.0), (4.0, 4.0))])
    >>> centers.tolist(), strides.tolist()
    ([[4.0, 4.0], [12.0, 4.0]], [[8.0, 8.0], [8.0, 8.0]])
    """
    centers, strides = [], []
    for level, ((step_x, step_y), (first_x, first_y)) in zip(levels, grids):
        options: dict[str, Any] = {'device': level.device, 'dtype': level.dtype}
        xs = torch.arange(level.shape[-1], **options) * step_x + first_x
        ys = torch.arange(level.shape[-2], **options) * step_y + first_y
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing='ij')
        centers.append(torch.stack([grid_x.flatten(), grid_y.flatten()], dim=-1))
        steps = [torch.full_like(centers[-1][:, 0], step) for step in (step_x, step_y)]
        strides.append(torch.stack(steps, dim=-1))
    return torch.cat(centers), torch.cat(strides)


def cells(levels: Sequence[Tensor], batch: Batch) -> Tensor | None:
    """Return the first corner (x, y) of each cell of image maps, which is the location of most heads.

    Args:
        levels: Maps (N, C, H, W).
        batch: Its inputs are images (N, 3, H, W).

    Returns:
        Shape (L, 2), in pixels; None where levels or inputs have other dimensions, so that no cell lies on padding.
    """
    inputs = batch.inputs
    if not isinstance(inputs, Tensor) or inputs.ndim != 4 or any(level.ndim != 4 for level in levels):
        return None
    # An empty level has no cells, whatever its stride.
    grids = [
        ((inputs.shape[3] / max(level.shape[3], 1), inputs.shape[2] / max(level.shape[2], 1)), (0.0, 0.0))
        for level in levels
    ]
    return grid_locations(levels, grids)[0]


def input_size(batch: Batch) -> tuple[int, int] | None:
    """Return height and width of the images of a batch with their padding, None where its inputs are not images."""
    inputs = batch.inputs
    return (inputs.shape[2], inputs.shape[3]) if isinstance(inputs, Tensor) and inputs.ndim == 4 else None


def grid_on_images(batch: Batch, grid: Sequence[int], num_images: int) -> list[tuple[int, int]]:
    """Return the number of rows and columns of a map on each image; padding is below and to the right of it.

    Args:
        batch: Its data samples hold the size of each image, see :func:`~kd_plugins.ops.rectangles.picture_sizes`;
            where it is unknown, all cells count as image.
        grid: Height and width of the map.
        num_images: N.
    """
    height, width = grid
    sizes, full = [(height, width)] * num_images, input_size(batch)
    if full is None:
        return sizes
    for index, (rows, columns) in enumerate(image_sizes(batch)[:num_images]):
        sizes[index] = math.ceil(height * rows / full[0]), math.ceil(width * columns / full[1])
    return sizes


def ground_truth_boxes(batch: Batch, like: Tensor) -> Tensor:
    """Return the boxes of all images, padded with boxes without area, which contain no location.

    Args:
        batch: Its data samples hold ``gt_instances.bboxes``; an image without them has no boxes.
        like: A tensor whose first dimension is N, with the dtype and device of the result.

    Returns:
        Corners in pixels of the network input, shape (N, G, 4), G >= 1.
    """
    boxes = [like.new_zeros(1, 4) for _ in range(like.shape[0])]
    for index, sample in enumerate(batch.samples):
        image_boxes = getattr(getattr(sample, 'gt_instances', None), 'bboxes', None)
        if image_boxes is not None and len(image_boxes):
            boxes[index] = getattr(image_boxes, 'tensor', image_boxes).to(like)
    return pad_sequence(boxes, batch_first=True) if boxes else like.new_zeros(0, 1, 4)


def image_sizes(batch: Batch) -> list[tuple[int, int]]:
    """Return height and width of each image without its padding, empty where the inputs are not images.

    See :func:`~kd_plugins.ops.rectangles.picture_sizes`.
    """
    if input_size(batch) is None:
        return []
    return [(height, width) for height, width in picture_sizes(batch.inputs, batch.samples).tolist()]


def inside_images(batch: Batch, centers: Tensor, num_images: int) -> Tensor:
    """Return which locations lie on an image and not on its padding.

    Args:
        batch: Its data samples hold the size of each image (:func:`image_sizes`); where it is unknown, all locations
            count as image.
        centers: Locations (x, y), shape (L, 2).
        num_images: N.

    Returns:
        Booleans, shape (N, L).
    """
    inside = torch.ones(num_images, len(centers), dtype=torch.bool, device=centers.device)
    full = input_size(batch)
    for index, shape in enumerate(image_sizes(batch)[:num_images]):
        if shape != full:
            inside[index] = (centers[:, 0] < shape[1]) & (centers[:, 1] < shape[0])
    return inside


def _has_padding(batch: Batch) -> bool:
    """Return whether an image of a batch is smaller than its input."""
    full = input_size(batch)
    return any(shape != full for shape in image_sizes(batch))


def positions_on_images(levels: Sequence[Tensor], batch: Batch, channel_dim: int = 1) -> list[Tensor | None]:
    """Return which positions of feature maps lie on an image and not on its padding.

    Args:
        levels: Features of each level, (N, C, H, W) for maps of the images.
        batch: The batch, see :func:`inside_images`.
        channel_dim: Dimension of the channels.

    Returns:
        Booleans for each level, shape (N, H * W), the same tensor for levels of one size. None, for all positions,
        where no image has padding or the features are no maps of the images.
    """
    if channel_dim not in (1, -3) or not _has_padding(batch):
        return [None] * len(levels)
    found: dict[tuple[int, ...], Tensor | None] = {}
    sizes = [(len(level), *level.shape[2:]) for level in levels]
    for size, level in zip(sizes, levels):
        if size not in found:
            corners = cells([level], batch) if len(level) == batch.num_images else None
            found[size] = None if corners is None else inside_images(batch, corners, len(level))
    return [found[size] for size in sizes]


def pixel_labels(batch: Batch, corners: Tensor, num_images: int) -> Tensor:
    """Return the segmentation label of each cell, that of its first pixel, and -1 where an image has none.

    Args:
        batch: Its data samples hold ``gt_sem_seg.data``, shape (1, H, W).
        corners: First corner (x, y) of each cell in pixels, shape (L, 2).
        num_images: N.

    Returns:
        Integers, shape (N, L).
    """
    found = torch.full((num_images, len(corners)), -1, dtype=torch.long, device=corners.device)
    columns, rows = corners.long().unbind(dim=-1)
    for index, sample in enumerate(batch.samples):
        labels = getattr(getattr(sample, 'gt_sem_seg', None), 'data', None)
        if labels is not None and labels.numel():
            height, width = labels.shape[-2:]
            values = labels.to(corners.device)[..., rows.clamp(max=height - 1), columns.clamp(max=width - 1)]
            found[index] = values.reshape(-1, len(corners))[0].long()
    return found


def image_labels(batch: Batch, like: Tensor) -> Tensor:
    """Return the class of each image, -1 where an image has none or several.

    Args:
        batch: Its data samples hold ``gt_label``, as those of MMPretrain do.
        like: A tensor whose first dimension is N, with the device of the result.

    Returns:
        Integers, shape (N, 1).
    """
    found = torch.full((like.shape[0], 1), -1, dtype=torch.long, device=like.device)
    for index, sample in enumerate(batch.samples):
        label = getattr(sample, 'gt_label', None)
        if label is not None and label.numel() == 1:
            found[index] = label.to(like.device).flatten()
    return found


def location_labels(batch: Batch, corners: Tensor | None, like: Tensor, reason: str) -> Tensor:
    """Return the class of each pixel or image, for heads that give each one class.

    Args:
        batch: Its data samples hold ``gt_sem_seg`` or ``gt_label``.
        corners: First corners (x, y) of the cells in pixels, shape (L, 2); None for classifiers, where L is 1.
        like: A tensor whose first dimension is N, with the device of the result.
        reason: Begin of the error sentence: the setting that needs labels.

    Returns:
        Integers, shape (N, L), -1 where there is no label.

    Raises:
        ConfigError: If no image of the batch has labels of this kind.
    """
    name = 'gt_label' if corners is None else 'gt_sem_seg'
    if len(like) and not any(hasattr(sample, name) for sample in batch.samples):
        raise ConfigError(f'{reason} and the batch has no {name}; use it on images with labels')
    return image_labels(batch, like) if corners is None else pixel_labels(batch, corners, len(like))


def counted_locations(
    levels: Sequence[Tensor], class_dim: int, batch: Batch, like: Tensor, ignore_index: int | None
) -> tuple[Tensor | None, Tensor]:
    """Return where the outputs of a head lie and which of them count.

    Args:
        levels: Outputs of each level. They are places on the image where ``class_dim`` is 1 and the levels are maps,
            one for each image.
        class_dim: Dimension of the classes.
        batch: The batch.
        like: A tensor whose first dimensions are (N, L), on the device of the result.
        ignore_index: Label of pixels that do not count, or None.

    Returns:
        First corners (x, y) of the cells in pixels, shape (L, 2), or None where the outputs are no maps of images; and
        booleans (N, L), False on padding and on ignored pixels.
    """
    of_images = class_dim in (1, -3) and len(like) == batch.num_images
    corners = cells(levels, batch) if of_images else None
    valid = torch.ones(like.shape[:2], dtype=torch.bool, device=like.device)
    if corners is not None:
        valid = inside_images(batch, corners, len(like))
        # Images without labels have none to ignore, also where -1 is the ignored label.
        if ignore_index is not None and any(hasattr(sample, 'gt_sem_seg') for sample in batch.samples):
            valid = valid & (pixel_labels(batch, corners, len(like)) != ignore_index)
    return corners, valid


def ground_truth_labels(batch: Batch, key: str, like: Tensor) -> Tensor:
    """Return the classes of the boxes of :func:`ground_truth_boxes`, padded with -1.

    Args:
        batch: The batch.
        key: Config key of what needs them, for the error sentence.
        like: A tensor whose first dimension is N, with the device of the result.

    Returns:
        Integers, shape (N, G).

    Raises:
        ConfigError: If the images have no instances, or boxes without classes.
    """
    labels = [torch.full((1,), -1, dtype=torch.long, device=like.device) for _ in range(like.shape[0])]
    samples = batch.samples
    if not any(hasattr(sample, 'gt_instances') for sample in samples) and like.shape[0]:
        raise ConfigError(f"{key} is 'truth' and the batch has no gt_instances; use it for detectors")
    for index, sample in enumerate(samples):
        instances: Any = getattr(sample, 'gt_instances', None)
        if len(getattr(instances, 'bboxes', ())):
            if not hasattr(instances, 'labels'):
                raise ConfigError(f"{key} is 'truth' and gt_instances has boxes without labels; use it for detectors")
            labels[index] = instances.labels.to(like.device)
    return pad_sequence(labels, batch_first=True, padding_value=-1)


def smallest_box_label(centers: Tensor, boxes: Tensor, labels: Tensor, pairs: int = 2**18) -> Tensor:
    """Return the class of the smallest box that contains each location, -1 where none does.

    Args:
        centers: Locations (x, y), shape (L, 2).
        boxes: Corners, shape (N, G, 4), G >= 1; boxes without area contain no location.
        labels: Classes, shape (N, G).
        pairs: Pairs of a location and a box to compute at a time; the result does not depend on it.

    Returns:
        Integers, shape (N, L).

    >>> boxes = torch.tensor([[[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0]]])
    >>> smallest_box_label(torch.tensor([[1.0, 1.0], [3.0, 3.0], [5.0, 5.0]]), boxes, torch.tensor([[7, 9]]))
    tensor([[ 7,  9, -1]])
    """
    size = area(boxes)[:, None]
    rows = max(1, pairs // max(boxes.shape[0] * boxes.shape[1], 1))
    found = []
    for some in centers.split(rows):
        smallest, index = size.masked_fill(~centers_inside(some, boxes), float('inf')).min(dim=-1)
        found.append(labels.gather(1, index).masked_fill(smallest.isinf(), -1))
    return torch.cat(found, dim=1)
