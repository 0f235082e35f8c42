"""Random crop that is accepted as soon as one box overlaps it enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import autocast_box_type
from numpy.typing import NDArray

from ...errors import ConfigError
from ...registry import TRANSFORMS
from ...utils.argument_types import shown
from .instances import keep_instances
from .ranges import check_probability, check_range

KEY = 'pipeline: RandomIoUCrop'
Corners = tuple[int, int, int, int]


def accepted_boxes(
    boxes: NDArray[np.floating], crop: Corners, min_iou: float, counted: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    r"""Return the boxes that stay in a crop, or None where the crop is not accepted.

    A box stays where its centre lies inside the crop. The crop is accepted where

    .. math:: \max_{i \,\text{stays}} \operatorname{IoU}(b_i, \text{crop}) \ge \text{min\_iou}

    Args:
        boxes: Corners in pixels, shape (N, 4).
        crop: Corners of the crop in pixels.
        min_iou: Least IoU of the best box.
        counted: Boxes that can make a crop accepted, shape (N,); None counts all.

    Returns:
        Whether each box stays, shape (N,).

    >>> boxes = np.array([[0.0, 0.0, 4.0, 4.0], [5.0, 0.0, 9.0, 4.0], [0.0, 8.0, 2.0, 9.0]])
    >>> accepted_boxes(boxes, (0, 0, 8, 4), 0.5)  # IoU 0.5 and 12 / 36
    array([ True,  True, False])
    >>> accepted_boxes(boxes, (0, 0, 8, 4), 0.51) is None
    True
    """
    left, top, right, bottom = crop
    centre_x, centre_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    inside = (left < centre_x) & (centre_x < right) & (top < centre_y) & (centre_y < bottom)
    candidates = boxes[inside if counted is None else inside & counted]
    if not len(candidates):
        return None
    width = np.minimum(candidates[:, 2], right) - np.maximum(candidates[:, 0], left)
    height = np.minimum(candidates[:, 3], bottom) - np.maximum(candidates[:, 1], top)
    shared = width.clip(min=0) * height.clip(min=0)
    areas = (candidates[:, 2] - candidates[:, 0]) * (candidates[:, 3] - candidates[:, 1])
    iou = shared / (areas + (right - left) * (bottom - top) - shared)
    return inside if iou.max() >= min_iou else None


@TRANSFORMS.register_module()
class RandomIoUCrop(BaseTransform):
    """Random crop of image, boxes, masks and segmentation map, which keeps the boxes whose centre it contains.

    A minimum IoU is drawn from ``min_ious``; 1 leaves the image as it is. A crop is drawn up to ``trials`` times until
    the box that overlaps it best reaches this IoU (:func:`accepted_boxes`), then the next minimum IoU is drawn.
    MMDetection's ``MinIoURandomCrop`` wants every box that the crop touches above the minimum, which leaves crops with
    small objects at their edges out. Boxes of crowds (``gt_ignore_flags``) make no crop accepted. An image without
    boxes stays as it is.

    Source: ``RandomIoUCrop`` of torchvision.transforms.v2, after SSD (arXiv 1512.02325), section 2.2; D-FINE applies it
    with probability 0.8 (Peterande/D-FINE, src/data/transforms).

    Args:
        prob: Probability that an image is cropped.
        scale: Least and largest width and height of the crop, relative to those of the image; both are drawn apart.
        aspect_ratio: Least and largest width divided by height of the crop, in pixels.
        min_ious: Minimum IoUs, one of which is drawn; at least one has to be 1 or more.
        trials: Crops that are drawn for one minimum IoU.

    Raises:
        ConfigError: If an argument is out of range.
    """

    def __init__(
        self,
        prob: float = 0.8,
        scale: tuple[float, float] = (0.3, 1.0),
        aspect_ratio: tuple[float, float] = (0.5, 2.0),
        min_ious: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
        trials: int = 40,
    ) -> None:
        self.prob = check_probability(f'{KEY}.prob', prob)
        self.scale = check_range(f'{KEY}.scale', scale, 0.0, 1.0)
        self.aspect_ratio = check_range(f'{KEY}.aspect_ratio', aspect_ratio, 0.0)
        self.min_ious = [float(value) for value in min_ious]
        if not any(value >= 1 for value in self.min_ious):
            raise ConfigError(
                f'{KEY}.min_ious is {shown(min_ious)}, and where no crop is accepted the drawing never ends; '
                f'nearest: {[*self.min_ious, 1.0]}'
            )
        self.trials = trials

    def draw_crop(self, height: int, width: int) -> Corners | None:
        """Return the corners of a random crop in pixels, or None where its shape is not allowed.

        Args:
            height: Height of the image in pixels.
            width: Width of the image in pixels.
        """
        low, high = self.scale
        size = low + (high - low) * np.random.rand(2)
        new_width, new_height = int(width * size[0]), int(height * size[1])
        if not new_width or not new_height:
            return None
        if not self.aspect_ratio[0] <= new_width / new_height <= self.aspect_ratio[1]:
            return None
        place = np.random.rand(2)
        left, top = int((width - new_width) * place[0]), int((height - new_height) * place[1])
        return left, top, left + new_width, top + new_height

    @autocast_box_type()
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the cropped item; ``img``, ``img_shape``, boxes, labels, flags, masks and ``gt_seg_map`` change."""
        height, width = results['img'].shape[:2]
        boxes = results['gt_bboxes'].tensor.numpy()
        ignored = results.get('gt_ignore_flags')
        counted = np.ones(len(boxes), bool) if ignored is None else ~np.asarray(ignored, bool)
        if np.random.rand() >= self.prob or not counted.any():
            return results
        while True:
            min_iou = self.min_ious[np.random.randint(len(self.min_ious))]
            if min_iou >= 1:
                return results
            for _ in range(self.trials):
                crop = self.draw_crop(height, width)
                keep = None if crop is None else accepted_boxes(boxes, crop, min_iou, counted)
                if crop is not None and keep is not None:
                    return self._cropped(results, crop, keep)

    @staticmethod
    def _cropped(results: dict[str, Any], crop: Corners, keep: NDArray[np.bool_]) -> dict[str, Any]:
        left, top, right, bottom = crop
        keep_instances(results, keep)
        results['img'] = results['img'][top:bottom, left:right]
        results['img_shape'] = results['img'].shape[:2]
        results['gt_bboxes'].translate_([-left, -top])
        results['gt_bboxes'].clip_(results['img_shape'])
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].crop(np.array(crop))
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = results['gt_seg_map'][top:bottom, left:right]
        return results
