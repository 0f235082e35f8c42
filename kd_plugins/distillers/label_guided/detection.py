"""Objects of detectors: boxes or masks with classes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base import Batch
from ..locations import input_size
from .boxes import box_descriptors, boxes_of_batch, cells_in_boxes
from .masks import SIDE, cells_in_masks, mask_pictures, mask_shares
from .objects import Objects
from .task import GuidedTask, TaskSettings

HEADS = ('bbox_head', 'roi_head')
"""Paths of the heads that predict boxes of classes."""


def box_head(student: nn.Module) -> Any:
    """Return the head that knows the number of classes, None where there is none; of a cascade the first one."""
    head: Any = next((getattr(student, path) for path in HEADS if hasattr(student, path)), None)
    head = getattr(head, 'bbox_head', head)
    return head[0] if isinstance(head, nn.ModuleList) else head


class DetectionTask(GuidedTask):
    """Detectors of MMDetection: an object is a box with a class, and with ``masks=True`` its mask as well.

    The descriptor has the corners of the box relative to the image, the class as one of C, and the mask within its box
    as 7 x 7 numbers (LGD, arXiv 2109.11496). With masks, an object has the cells that its mask covers. A box of a class
    that the head does not have is no object.

    Args:
        student: The student.
        settings: Settings of the distiller.
    """

    def __init__(self, student: nn.Module, settings: TaskSettings) -> None:
        super().__init__(student, settings)
        self.num_classes = int(box_head(student).num_classes)

    @classmethod
    def fits(cls, student: nn.Module) -> bool:
        """Return whether the student has a head for boxes of classes."""
        return getattr(box_head(student), 'num_classes', None) is not None

    @property
    def descriptor_size(self) -> int:
        """Numbers in the descriptor of an object."""
        return 4 + self.num_classes + (SIDE * SIDE if self.settings.masks else 0)

    def objects(self, batch: Batch, like: Tensor) -> Objects:
        """Return the objects of the ground truth, see :class:`GuidedTask`."""
        key, context, reference = self.settings.key, self.settings.context, self.settings.reference
        boxes = boxes_of_batch(batch, self.num_classes, like, context, key, reference)
        descriptors, size = box_descriptors(boxes, self.num_classes), input_size(batch)
        assert size is not None
        if not self.settings.masks:
            return Objects(
                descriptors,
                boxes.valid,
                boxes.labels,
                lambda grid, inside: cells_in_boxes(boxes, grid, size, inside, reference),
            )
        shares = mask_shares(batch, boxes.corners, key)
        if context:
            shares = F.pad(shares, (0, 0, 0, 0, 1, 0))
        return Objects(
            torch.cat([descriptors, 2.0 * mask_pictures(shares, boxes, size) - 1.0], dim=-1),
            boxes.valid,
            boxes.labels,
            lambda grid, inside: cells_in_masks(shares, boxes, grid, size, inside, reference),
        )
