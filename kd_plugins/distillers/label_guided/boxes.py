"""Boxes of a batch, with their descriptors and the cells of a map that they cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ConfigError
from ..base import Batch
from ..locations import ground_truth_boxes, ground_truth_labels, image_sizes, input_size


class Boxes(NamedTuple):
    """Boxes of every image, padded to the same number.

    Attributes:
        corners: Corners in pixels, within the image, (N, G, 4), G >= 1.
        labels: Classes, (N, G), -1 for the context and for padding.
        valid: Booleans, (N, G), False for padding.
        sizes: Height and width that the corners are relative to, (N, 2).
    """

    corners: Tensor
    labels: Tensor
    valid: Tensor
    sizes: Tensor

    @property
    def real(self) -> Tensor:
        """Booleans, (N, G), True for the objects of the ground truth."""
        return self.labels >= 0


def boxes_of_batch(
    batch: Batch, num_classes: int, like: Tensor, context: bool, key: str, reference: bool = False
) -> Boxes:
    """Return the boxes of the ground truth.

    Args:
        batch: Its data samples hold ``gt_instances`` with ``bboxes`` and ``labels``. A box whose label is not from 0 to
            C - 1 counts as padding: a dense head has no class for it and learns background there.
        num_classes: C.
        like: A tensor whose first dimension is N, with the dtype and device of the result.
        context: Whether each image is a box itself, the first one, without a class.
        key: Config key of the distiller, for the error sentence.
        reference: Whether boxes are relative to the padded size of the batch, as in the release.

    Raises:
        ConfigError: If the batch has no boxes with classes on images.
    """
    full = input_size(batch)
    samples = batch.samples
    instances = [getattr(sample, 'gt_instances', None) for sample in samples]
    if full is None or not samples or any(not hasattr(one, name) for one in instances for name in ('bboxes', 'labels')):
        raise ConfigError(
            f'{key}: LabelGuidedDistiller encodes boxes with classes (gt_instances.bboxes and labels) on images '
            '(N, C, H, W), and the batch has none; use it for detectors on labelled images, or FeatureDistiller'
        )
    shapes = [full] * len(samples) if reference else image_sizes(batch)
    sizes = like.new_tensor([[float(height), float(width)] for height, width in shapes])
    labels = ground_truth_labels(batch, key, like)
    labels = torch.where(labels < num_classes, labels, -1)
    boxes, valid = ground_truth_boxes(batch, like), labels >= 0
    if context:
        whole = torch.cat([torch.zeros_like(sizes), sizes.flip(-1)], dim=-1)[:, None]
        boxes = torch.cat([whole, boxes], dim=1)
        labels, valid = F.pad(labels, (1, 0), value=-1), F.pad(valid, (1, 0), value=True)
    # The release clips all boxes to the last pixel.
    end = (sizes - 1.0 if reference else sizes).flip(-1).repeat(1, 2)[:, None]
    return Boxes(boxes.clamp(min=0.0).minimum(end), labels, valid, sizes)


def box_descriptors(boxes: Boxes, num_classes: int) -> Tensor:
    """Return a vector for each box, from -1 to 1: its corners relative to the image, and its class as one of C.

    Args:
        boxes: The boxes. The context has no class.
        num_classes: C.

    Returns:
        Shape (N, G, 4 + C), without gradient.

    >>> boxes = Boxes(
    ...     torch.tensor([[[0.0, 0.0, 4.0, 2.0]]]),
    ...     torch.tensor([[1]]),
    ...     torch.tensor([[True]]),
    ...     torch.tensor([[4.0, 8.0]]),
    ... )
    >>> box_descriptors(boxes, 2).tolist()
    [[[-1.0, -1.0, 0.0, 0.0, -1.0, 1.0]]]
    """
    relative = boxes.corners / boxes.sizes.flip(-1).repeat(1, 2)[:, None].clamp(min=1.0)
    classes = F.one_hot(boxes.labels.clamp(min=0), num_classes).to(relative.dtype)
    return 2.0 * torch.cat([relative, classes * boxes.real[..., None]], dim=-1) - 1.0


def _along(low: Tensor, high: Tensor, cells: int, length: float, reference: bool) -> Tensor:
    """Return which cells of an axis each interval covers, (N, G, cells)."""
    index = torch.arange(cells, device=low.device, dtype=low.dtype)
    low, high = low * (cells / length), high * (cells / length)
    place = index if reference else index + 0.5
    covered = (place >= low[..., None]) & (place <= high[..., None])
    if reference:
        return covered
    middle = ((low + high) / 2.0).floor().clamp(max=float(cells - 1))
    return covered | (index == middle[..., None])


def cells_in_boxes(
    boxes: Boxes,
    grid: Sequence[int],
    size: Sequence[float],
    inside: Tensor | None = None,
    reference: bool = False,
) -> Tensor:
    """Return which cells of a map each box covers.

    A cell counts by its centre. In each direction, a box also covers the cell that its own centre lies in, so that
    an object that is thinner than a cell is not lost.

    Args:
        boxes: The boxes.
        grid: Height and width of the map.
        size: Height and width in pixels of what the map covers, the input with its padding.
        inside: Booleans of shape (N, 1, H, W), False on padding; or None.
        reference: Whether a cell counts by its index, without the addition, as in the release.

    Returns:
        Shape (N, G, H, W) with 1 and 0, all 0 for padding.

    >>> corners = torch.tensor([[[0.0, 0.0, 12.0, 9.0], [17.0, 1.0, 18.0, 2.0]]])
    >>> boxes = Boxes(corners, torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2) > 0, torch.tensor([[16, 24]]))
    >>> cells_in_boxes(boxes, (2, 3), (16, 24)).int().tolist()
    [[[[1, 1, 0], [0, 0, 0]], [[0, 0, 1], [0, 0, 0]]]]
    """
    columns = _along(boxes.corners[..., 0], boxes.corners[..., 2], grid[1], size[1], reference)
    rows = _along(boxes.corners[..., 1], boxes.corners[..., 3], grid[0], size[0], reference)
    covered = (rows & boxes.valid[..., None])[..., :, None] & columns[..., None, :]
    if inside is not None:
        covered = covered & inside
    return covered.to(boxes.corners.dtype)
