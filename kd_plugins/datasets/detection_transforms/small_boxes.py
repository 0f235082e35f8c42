"""Removal of boxes that augmentation has made too small."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import autocast_box_type

from ...registry import TRANSFORMS
from ...utils.checks import check_number
from .instances import keep_instances


@TRANSFORMS.register_module()
class DropSmallBoxes(BaseTransform):
    """Clip the boxes to the image and drop those that are less than ``min_size`` wide or high.

    An image whose last box is dropped stays and trains the classes as background. MMDetection's ``FilterAnnotations``
    also drops boxes of exactly the least size, and its default skips images without boxes.

    Source: ``SanitizeBoundingBoxes`` of torchvision.transforms.v2, after the clipping that D-FINE does when it reads
    the annotations (Peterande/D-FINE, src/data/dataset/coco_dataset.py).

    Args:
        min_size: Least width and height of a box in pixels.

    Raises:
        ConfigError: If ``min_size`` is not a positive number.
    """

    def __init__(self, min_size: float = 1.0) -> None:
        self.min_size = check_number('pipeline: DropSmallBoxes.min_size', min_size, positive=True)

    @autocast_box_type()
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the item with fewer boxes, labels, flags and masks."""
        boxes = results['gt_bboxes']
        boxes.clip_(results['img_shape'])
        sides = np.minimum(boxes.widths.numpy(), boxes.heights.numpy())
        keep_instances(results, sides >= self.min_size)
        return results
