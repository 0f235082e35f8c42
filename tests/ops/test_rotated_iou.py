"""Overlaps of turned boxes against Shapely's polygons and MMCV's operator, where each exists."""

from __future__ import annotations

import numpy as np
import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.ops.rotated_iou import box_overlaps, rectangle_intersections


def random_rectangles(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.uniform(-3, 3, (count, 2)), rng.uniform(0.2, 5, (count, 2)), rng.uniform(-4, 4, (count, 1))], axis=1
    )


def test_intersections_equal_shapely() -> None:
    geometry = pytest.importorskip('shapely.geometry')
    affinity = pytest.importorskip('shapely.affinity')

    def polygon(rectangle: np.ndarray) -> object:
        x, y, length, width, angle = rectangle
        flat = geometry.box(-length / 2, -width / 2, length / 2, width / 2)
        return affinity.translate(affinity.rotate(flat, angle, origin=(0, 0), use_radians=True), x, y)

    first, second = random_rectangles(0, 30), random_rectangles(1, 40)
    expected = [[polygon(one).intersection(polygon(two)).area for two in second] for one in first]
    assert np.count_nonzero(expected) > 300
    np.testing.assert_allclose(rectangle_intersections(first, second), expected, atol=1e-12)


def test_overlaps_equal_mmcv() -> None:
    torch = pytest.importorskip('torch')
    ops = pytest.importorskip('mmcv.ops')
    first, second = random_rectangles(2, 30), random_rectangles(3, 40)
    expected = ops.box_iou_rotated(*(torch.tensor(boxes, dtype=torch.float32) for boxes in (first, second)))
    flat = [np.insert(boxes, [2, 4], [[0.0, 1.0]], axis=1) for boxes in (first, second)]
    bev, volume = box_overlaps(*flat)
    np.testing.assert_allclose(bev, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(volume, bev, atol=1e-12)  # equal heights


@pytest.mark.parametrize('angle', [0.0, np.pi / 2, np.pi, 0.3, -1.57])
def test_nearly_equal_boxes_overlap_nearly_whole(angle: float) -> None:
    # MMCV 2.1 gives values from 0.2 to 2.8 for some of these.
    rng = np.random.default_rng(4)
    boxes = np.concatenate([rng.uniform(-40, 40, (300, 3)), np.tile([3.9, 1.6, 1.56, angle], (300, 1))], axis=1)
    for other in (boxes, boxes + rng.normal(0, 1e-6, boxes.shape), boxes + [0, 0, 0, 0, 0, 0, np.pi]):
        bev, volume = box_overlaps(boxes, other)
        assert abs(np.diag(bev) - 1).max() < 1e-4 and abs(np.diag(volume) - 1).max() < 1e-4
        assert bev.max() <= 1 + 1e-12


def test_heights_count_in_space_only() -> None:
    low, high = [0, 0, 0, 4, 2, 2, 0.4], [0, 0, 1.5, 4, 2, 2, 0.4]
    bev, volume = box_overlaps([low], [high, [0, 0, 3, 4, 2, 2, 0.4]])
    np.testing.assert_allclose(bev, [[1, 1]])
    np.testing.assert_allclose(volume, [[0.5 / 3.5, 0]])


def test_invariances() -> None:
    boxes = np.random.default_rng(5).uniform(0.5, 3, (2, 20, 7))
    bev, volume = box_overlaps(*boxes)
    for turned, again in zip((bev, volume), box_overlaps(boxes[1], boxes[0])):
        np.testing.assert_allclose(turned, again.T, atol=1e-12)
    turn = np.array([[np.cos(1.1), -np.sin(1.1)], [np.sin(1.1), np.cos(1.1)]])
    moved = boxes.copy()
    moved[..., :2] = moved[..., :2] @ turn.T + [100.0, -50.0]
    moved[..., 2] -= 7
    moved[..., 6] += 1.1
    for before, after in zip((bev, volume), box_overlaps(*moved)):
        np.testing.assert_allclose(before, after, atol=1e-10)


def test_empty_and_wrong_shapes() -> None:
    box = [[0, 0, 0, 4, 2, 2, 0]]
    assert box_overlaps([], box)[0].shape == (0, 1) and box_overlaps(box, np.zeros((0, 7)))[1].shape == (1, 0)
    flat = [[0, 0, 0, 0, 0, 0, 0]]
    assert not np.any(box_overlaps(flat, flat)) and not np.any(box_overlaps(flat, box))
    with pytest.raises(ConfigError, match=r'shape \(1, 5\) were given; valid: \(N, 7\)'):
        box_overlaps([[0, 0, 1, 1, 0]], box)
