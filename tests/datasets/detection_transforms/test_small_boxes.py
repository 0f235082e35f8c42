"""Boxes below the least size leave with all that belongs to them; the image stays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('mmdet')

from kd_plugins.datasets.detection_transforms import DropSmallBoxes
from kd_plugins.errors import ConfigError
from tests.datasets.detection_transforms.items import HEIGHT, WIDTH, item


def test_boxes_are_clipped_first_and_one_pixel_is_enough() -> None:
    results = item(((0, 0, 1, 5), (3, 3, 4, 4), (10, 10, 20, 20), (50, 50, 60, 50)))
    tensor = results['gt_bboxes'].tensor
    tensor[2, 2] = 10.5  # half a pixel wide
    tensor[1, 2] = WIDTH + 40.0
    kept = DropSmallBoxes()(results)
    assert kept['gt_bboxes_labels'].tolist() == [0, 1]
    assert kept['gt_bboxes'].tensor.tolist() == [[0, 0, 1, 5], [3, 3, WIDTH, 4]]
    assert len(kept['gt_masks']) == len(kept['gt_ignore_flags']) == 2


def test_an_image_without_boxes_stays() -> None:
    results = DropSmallBoxes(min_size=200)(item())
    assert results['img'].shape == (HEIGHT, WIDTH, 3)
    assert results['gt_bboxes'].tensor.shape == (0, 4) and results['gt_masks'].masks.shape == (0, HEIGHT, WIDTH)
    assert DropSmallBoxes()(results)['gt_bboxes_labels'].shape == (0,)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match='min_size is 0'):
        DropSmallBoxes(min_size=0)
    assert np.isclose(DropSmallBoxes(2).min_size, 2)
