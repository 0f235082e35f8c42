"""Any-box IoU crop: torchvision's rule on constructed cases, and geometry of everything that belongs to the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip('mmdet')

from kd_plugins.datasets.detection_transforms import RandomIoUCrop, accepted_boxes
from kd_plugins.errors import ConfigError
from tests.datasets.detection_transforms.items import BOXES, HEIGHT, WIDTH, assert_masks_fill_boxes, item, origin


def iou(first: Any, second: Any) -> float:
    sides = [min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1)]
    shared = max(sides[0], 0) * max(sides[1], 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def test_one_box_is_enough_and_a_centre_on_the_edge_is_outside() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [8.0, 0.0, 12.0, 4.0], [0.0, 9.0, 4.0, 11.0]])
    keep = accepted_boxes(boxes, (0, 0, 10, 10), 0.9)  # IoU 1, 8 / 108 and 4 / 104; two centres lie on an edge
    assert keep is not None and keep.tolist() == [True, False, False]
    keep = accepted_boxes(boxes, (0, 0, 11, 11), 0.8)  # 100 / 121
    assert keep is not None and keep.tolist() == [True, True, True]
    assert accepted_boxes(boxes, (0, 0, 11, 11), 0.83) is None
    # The best box counts among those that stay: the centre of the first one is outside.
    assert accepted_boxes(boxes, (5, 0, 12, 11), 0.4) is None
    keep = accepted_boxes(boxes, (0, 0, 10, 10), 0.9, np.array([False, True, True]))
    assert keep is None, 'a crowd accepts no crop'


def test_crops_obey_the_limits_and_everything_follows_the_image() -> None:
    np.random.seed(0)
    crop = RandomIoUCrop(prob=1.0, min_ious=(0.3, 1.0))
    cropped, below = 0, 0
    for _ in range(200):
        results = crop(item())
        height, width = results['img'].shape[:2]
        assert results['img_shape'] == (height, width)
        if (height, width) == (HEIGHT, WIDTH):
            continue
        cropped += 1
        left, top = origin(results['img'])
        corners = (left, top, left + width, top + height)
        assert int(0.3 * WIDTH) <= width <= WIDTH and int(0.3 * HEIGHT) <= height <= HEIGHT
        assert 0.5 <= width / height <= 2
        assert tuple(results['img'][-1, -1, :2]) == (corners[3], corners[2])
        kept = results['gt_bboxes_labels'].tolist()
        centres = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in BOXES]
        assert kept == [
            i for i, (x, y) in enumerate(centres) if corners[0] < x < corners[2] and corners[1] < y < corners[3]
        ]
        overlaps = [iou(BOXES[i], corners) for i in kept]
        assert max(overlaps) >= 0.3
        below += min(overlaps) < 0.3
        expected = np.array([BOXES[i] for i in kept]) - [left, top, left, top]
        assert np.allclose(results['gt_bboxes'].tensor, expected.clip(0, [width, height, width, height]))
        assert len(results['gt_ignore_flags']) == len(kept)
        assert_masks_fill_boxes(results)
        assert results['gt_seg_map'].shape == (height, width) and results['gt_seg_map'][0, 0] == top
    assert cropped > 50
    assert below > 10, 'crops with a box below the minimum, which MinIoURandomCrop never draws'


def test_an_image_whose_boxes_are_crowds_or_that_has_none_stays() -> None:
    crop = RandomIoUCrop(prob=1.0)
    for results in (item(boxes=()), item(ignored=[True] * 3)):
        for _ in range(20):
            assert crop(dict(results))['img'].shape == (HEIGHT, WIDTH, 3)


def test_the_probability_counts() -> None:
    np.random.seed(0)
    crop = RandomIoUCrop(prob=0.8, min_ious=(0.0, 1.0))  # half of the draws leave the image
    changed = sum(crop(item(BOXES[:1]))['img'].shape != (HEIGHT, WIDTH, 3) for _ in range(1000))
    assert abs(changed / 1000 - 0.4) < 0.05


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        ({'min_ious': (0.5, 0.9)}, 'min_ious'),
        ({'prob': 1.2}, 'prob is 1.2'),
        ({'scale': (0.9, 0.3)}, 'scale'),
        ({'aspect_ratio': 2.0}, 'aspect_ratio is 2.0'),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        RandomIoUCrop(**settings)
