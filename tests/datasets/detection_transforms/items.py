"""Items of a detection pipeline whose image says where each pixel comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

HEIGHT, WIDTH = 100, 120
BOXES = ((10, 10, 70, 80), (90, 60, 118, 98), (60, 5, 64, 9))


def item(boxes: Any = BOXES, ignored: Any = None) -> dict[str, Any]:
    """Return an item; pixel (y, x) of the image holds (y + 1, x + 1, 7), and masks fill their boxes."""
    rows, columns = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing='ij')
    image = np.stack([rows + 1, columns + 1, np.full_like(rows, 7)], axis=-1).astype(np.uint8)
    masks = np.zeros((len(boxes), HEIGHT, WIDTH), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = 1
    return {
        'img': image,
        'img_shape': (HEIGHT, WIDTH),
        'gt_bboxes': HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        'gt_bboxes_labels': np.arange(len(boxes)),
        'gt_ignore_flags': np.zeros(len(boxes), bool) if ignored is None else np.array(ignored),
        'gt_masks': BitmapMasks(masks, HEIGHT, WIDTH),
        'gt_seg_map': rows.astype(np.uint8),
    }


def origin(image: np.ndarray) -> tuple[int, int]:
    """Return x and y of the first pixel of a cropped image in the whole one."""
    return int(image[0, 0, 1]) - 1, int(image[0, 0, 0]) - 1


def assert_masks_fill_boxes(results: dict[str, Any]) -> None:
    """Check that each mask still fills its box."""
    height, width = results['img_shape']
    assert results['gt_masks'].masks.shape == (len(results['gt_bboxes']), height, width)
    for mask, box in zip(results['gt_masks'].masks, results['gt_bboxes'].tensor.int().tolist()):
        expected = np.zeros((height, width), np.uint8)
        expected[box[1] : box[3], box[0] : box[2]] = 1
        assert (mask == expected).all()
