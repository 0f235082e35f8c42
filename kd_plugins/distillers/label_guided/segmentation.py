"""Objects of segmentors: the region of each class in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError
from ..base import Batch
from ..locations import grid_on_images
from .objects import Objects, cells_by_share, of_every_kind
from .task import GuidedTask, TaskSettings


class Regions(NamedTuple):
    """Region of each class in each image.

    Attributes:
        counts: Number of its pixels, (N, C).
        boxes: Smallest box around it, (x1, y1, x2, y2) from 0 to 1 relative to the labels, (N, C, 4), 0 where it is
            empty.
    """

    counts: Tensor
    boxes: Tensor


def class_shares(labels: Tensor, num_classes: int, grid: Sequence[int]) -> Tensor:
    """Return the share of the pixels of each cell that have each class.

    Args:
        labels: Integers, (N, H, W); what is not from 0 to C - 1 has no class.
        num_classes: C.
        grid: Height and width of the map.

    Returns:
        Shape (N, C, *grid), float32.

    >>> class_shares(torch.tensor([[[0, 1, 1, 255]]]), 2, (1, 2)).tolist()
    [[[[0.5, 0.0]], [[0.5, 0.5]]]]
    """
    height, width = (max(side, cells) for side, cells in zip(labels.shape[1:], grid))
    if (height, width) != tuple(labels.shape[1:]):
        labels = F.interpolate(labels[:, None].double(), (height, width), mode='nearest')[:, 0].long()
    # The cell that the centre of each pixel lies in.
    rows, columns = (
        ((torch.arange(side, device=labels.device) + 0.5) * (cells / side)).long().clamp(max=cells - 1)
        for side, cells in zip((height, width), grid)
    )
    cells = grid[0] * grid[1]
    place = (rows[:, None] * grid[1] + columns).flatten()
    known = ((labels >= 0) & (labels < num_classes)).flatten(1).float()
    index = labels.clamp(0, num_classes - 1).flatten(1) * cells + place
    counts = known.new_zeros(len(labels), num_classes * cells).scatter_add_(1, index, known)
    pixels = known.new_zeros(cells).scatter_add_(0, place, torch.ones_like(place, dtype=known.dtype))
    return (counts.view(len(labels), num_classes, cells) / pixels).unflatten(-1, tuple(grid))


def class_regions(labels: Tensor, num_classes: int) -> Regions:
    """Return size and box of the region of each class.

    Args:
        labels: Integers, (N, H, W); what is not from 0 to C - 1 has no class.
        num_classes: C.

    >>> regions = class_regions(torch.tensor([[[0, 1, 1, 255]]]), 3)
    >>> regions.counts.tolist(), regions.boxes[0].tolist()
    ([[1.0, 2.0, 0.0]], [[0.0, 0.0, 0.25, 1.0], [0.25, 0.0, 0.75, 1.0], [0.0, 0.0, 0.0, 0.0]])
    """
    height, width = labels.shape[1:]
    in_rows = class_shares(labels, num_classes, (height, 1))[..., 0] * width
    in_columns = class_shares(labels, num_classes, (1, width))[..., 0, :]
    sides = []
    for present in (in_columns > 0, in_rows > 0):
        index = torch.arange(present.shape[-1], device=labels.device)
        low = torch.where(present, index, present.shape[-1]).amin(dim=-1)
        high = torch.where(present, index + 1, 0).amax(dim=-1)
        sides.append((torch.minimum(low, high) / present.shape[-1], high / present.shape[-1]))
    (left, right), (top, bottom) = sides
    return Regions(in_rows.sum(dim=-1).round(), torch.stack([left, top, right, bottom], dim=-1))


def labels_of_batch(batch: Batch, like: Tensor, key: str) -> Tensor:
    """Return the labels of all pixels, (N, H, W), on the device of a tensor.

    Args:
        batch: Its data samples hold ``gt_sem_seg.data`` of shape (1, H, W), of the same size.
        like: A tensor on the device of the result.
        key: Config key of the distiller, for the error sentence.

    Raises:
        ConfigError: If they do not.
    """
    maps = [getattr(getattr(sample, 'gt_sem_seg', None), 'data', None) for sample in batch.samples]
    known = [one[0] for one in maps if one is not None]
    if not known or len(known) < len(maps) or len({one.shape for one in known}) != 1 or known[0].ndim != 2:
        raise ConfigError(
            f'{key}: LabelGuidedDistiller encodes the classes of the pixels of a segmentor (gt_sem_seg of shape (1, H, '
            'W), of the same size in a batch), and the batch has none; use it on labelled images, or FeatureDistiller'
        )
    return torch.stack([one.to(like.device) for one in known]).long()


class SegmentationTask(GuidedTask):
    """Segmentors of MMSegmentation: an object is the region of one class in the image.

    The descriptor has the box around the region relative to the image, its share of the image, and the class as one of
    C. An object has the cells of which it covers more than half, and the one that it covers most. The losses are those
    of the decode head; auxiliary heads read other maps.

    Args:
        student: The student.
        settings: Settings of the distiller.

    Raises:
        ConfigError: If a setting is of detectors alone.
    """

    def __init__(self, student: nn.Module, settings: TaskSettings) -> None:
        super().__init__(student, settings)
        settings.refuse_detection(student, 'segmentor')
        head: Any = student.decode_head
        heads: list[Any] = list(head) if isinstance(head, nn.ModuleList) else [head]
        self.num_classes = int(heads[-1].num_classes)
        chosen = [getattr(one, 'in_index', None) for one in heads]
        self.read = None if None in chosen else _flat(chosen)
        """Numbers of the maps that the decode head reads, None for all."""

    @classmethod
    def fits(cls, student: nn.Module) -> bool:
        """Return whether the student has a decode head with classes."""
        head: Any = getattr(student, 'decode_head', None)
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        return getattr(head, 'num_classes', None) is not None

    @property
    def descriptor_size(self) -> int:
        """Numbers in the descriptor of an object."""
        return 5 + self.num_classes

    def levels(self, count: int) -> Sequence[int]:
        """Return which of the student's maps its decode head reads."""
        return range(count) if self.read is None else sorted({index % count for index in self.read})

    def counts(self, name: str) -> bool:
        """Return whether a loss is that of the decode head."""
        return not name.startswith('aux')

    def objects(self, batch: Batch, like: Tensor) -> Objects:
        """Return the objects of the ground truth, see :class:`GuidedTask`."""
        labels = labels_of_batch(batch, like, self.settings.key)
        counts, boxes = class_regions(labels, self.num_classes)
        extents = grid_on_images(batch, labels.shape[1:], len(labels))
        heights, widths = like.new_tensor(extents).unbind(dim=-1)
        full_height, full_width = labels.shape[1:]
        scale = torch.stack([full_width / widths, full_height / heights], dim=-1).repeat(1, 2)[:, None]
        boxes = (boxes.to(like) * scale).clamp(max=1.0)
        area = (counts.to(like) / (heights * widths)[:, None]).clamp(max=1.0)
        return of_every_kind(
            torch.cat([boxes, area[..., None]], dim=-1),
            counts > 0,
            lambda grid: cells_by_share(class_shares(labels, self.num_classes, grid)),
            [0.0, 0.0, 1.0, 1.0, 1.0] if self.settings.context else None,
        )


def _flat(chosen: Sequence[Any]) -> list[int]:
    """Return the numbers of all entries, each a number or a list of them."""
    return [int(index) for one in chosen for index in (one if isinstance(one, (list, tuple)) else [one])]
