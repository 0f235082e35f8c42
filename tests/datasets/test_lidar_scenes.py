"""Generated LiDAR scenes: rays compared with plain geometry, exact boxes, reproducible files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kd_plugins.datasets import lidar_scenes
from kd_plugins.datasets.lidar_scenes import CLASSES, HEIGHT, cast_rays, compose, directions, make_split, place
from kd_plugins.errors import ConfigError
from kd_plugins.ops.rotated_iou import rectangle_intersections


def in_box(points: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """Whether points (P, 3) lie in a box that is larger by a margin."""
    x, y, z, length, width, height, yaw = box
    along = np.cos(yaw) * (points[:, 0] - x) + np.sin(yaw) * (points[:, 1] - y)
    across = np.cos(yaw) * (points[:, 1] - y) - np.sin(yaw) * (points[:, 0] - x)
    inside = (abs(along) < length / 2 + margin) & (abs(across) < width / 2 + margin)
    return inside & (points[:, 2] > z - margin) & (points[:, 2] < z + height + margin)


def test_rays_meet_the_nearest_surface() -> None:
    rng = np.random.default_rng(0)
    rays = rng.normal(size=(400, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    boxes = np.concatenate(
        [rng.uniform(3, 8, (9, 2)) * rng.choice([-1, 1], (9, 2)), rng.uniform(-1.7, 0.5, (9, 1))], axis=1
    )
    boxes = np.concatenate([boxes, rng.uniform(0.5, 4, (9, 3)), rng.uniform(-3, 3, (9, 1))], axis=1)
    reach, cosine, hit = cast_rays(rays, boxes)
    assert len(set(hit[np.isfinite(reach)])) > 8  # one or two boxes may be hidden
    steps = np.arange(0, 20, 0.005)
    for ray, distance, index in zip(rays, reach, hit):
        # Walk along the ray until it is in a box or below the ground.
        path = steps[:, None] * ray
        entered = np.array([in_box(path, box, 0.0) for box in boxes])
        below = path[:, 2] < -HEIGHT
        stops = np.flatnonzero(entered.any(axis=0) | below)
        if not len(stops):
            assert distance > 19.9 or index == -1
            continue
        assert distance == pytest.approx(steps[stops[0]], abs=0.01)
        if entered[:, stops[0]].any():
            assert entered[index, stops[0]]
        else:
            assert index == -1
    assert ((cosine > 0) & (cosine <= 1))[np.isfinite(reach)].all()


def test_a_scene_is_a_function_of_split_seed_and_index() -> None:
    first = compose('train', 3, seed=1)
    compose('train', 4, seed=1)  # what was drawn in between does not matter
    again = compose('train', 3, seed=1)
    assert first.points.tobytes() == again.points.tobytes() and np.array_equal(first.boxes, again.boxes)
    for other in (compose('train', 4, seed=1), compose('train', 3, seed=2), compose('val', 3, seed=1)):
        assert other.points.tobytes() != first.points.tobytes()


def test_boxes_hold_the_points_that_they_claim() -> None:
    labels = []
    for index in range(12):
        scene = compose('val', index)
        assert scene.points.dtype == np.float32 and scene.points.shape[1] == 4 and np.isfinite(scene.points).all()
        assert scene.points[:, 3].min() >= 0 and scene.points[:, 3].max() <= 1
        assert (abs(scene.boxes[:, :2]) <= lidar_scenes.HALF_SIDE).all()
        assert np.allclose(scene.boxes[:, 2], -HEIGHT) and len(scene.boxes) == len(scene.labels)
        ground = scene.boxes[:, [0, 1, 3, 4, 6]]
        overlap = rectangle_intersections(ground, ground)
        assert (overlap - np.diag(np.diag(overlap)) < 1e-9).all()
        above = scene.points[scene.points[:, 2] > -HEIGHT + 0.15, :3].astype(np.float64)
        for box, count in zip(scene.boxes, scene.num_points):
            # The noise of ranges, 0.02 m, carries some out of the box and ground points near it in.
            actual = int(in_box(above, box, 0.06).sum())
            assert 0.7 * count - 4 <= actual <= 1.05 * count + 2
            assert count >= lidar_scenes.MIN_POINTS
        labels += scene.labels.tolist()
    counts = np.bincount(labels, minlength=3)
    assert (counts > 15).all()


def test_near_things_hide_far_ones() -> None:
    wall = np.array([[5.0, 0.0, -HEIGHT, 0.3, 6.0, 3.0, 0.0]])
    car = np.array([[9.0, 0.0, -HEIGHT, 3.9, 1.6, 1.56, 0.0]])
    rays = directions()
    alone = cast_rays(rays, car)[2]
    behind = cast_rays(rays, np.concatenate([wall, car]))[2]
    assert (alone == 0).sum() > 50 and (behind == 1).sum() == 0 and (behind == 0).sum() > 100


def test_placing_leaves_out_what_finds_no_room() -> None:
    placed = place(np.random.default_rng(0), [(60.0, 60.0, 1.0), (3.9, 1.6, 1.5)])
    assert placed[0] is None and placed[1] is not None


def test_made_once_and_made_again_where_something_changed(tmp_path: Path) -> None:
    assert make_split(tmp_path, 'train', 2, seed=5)
    ann_file, cloud = tmp_path / 'train.json', tmp_path / 'train' / '000001.bin'
    before = cloud.stat().st_mtime_ns, cloud.read_bytes(), ann_file.read_bytes()
    assert not make_split(tmp_path, 'train', 2, seed=5)
    assert cloud.stat().st_mtime_ns == before[0]
    ann_file.write_text(ann_file.read_text()[:200])  # a truncated file
    assert make_split(tmp_path, 'train', 2, seed=5)
    assert (cloud.read_bytes(), ann_file.read_bytes()) == before[1:]
    assert make_split(tmp_path, 'train', 2, seed=6) and cloud.read_bytes() != before[1]
    assert make_split(tmp_path, 'train', 1, seed=6) and not cloud.exists()
    assert not list(tmp_path.rglob('*.partial'))


def test_mmdetection3d_reads_the_boxes_back(tmp_path: Path) -> None:
    datasets = pytest.importorskip('mmdet3d.datasets')
    make_split(tmp_path, 'val', 2, seed=7)
    data = datasets.KittiDataset(
        data_root=str(tmp_path),
        ann_file='val.json',
        data_prefix=dict(pts='val'),
        metainfo=dict(classes=CLASSES),
        test_mode=True,
    )
    for index in range(2):
        scene, info = compose('val', index, seed=7), data.get_data_info(index)
        assert Path(info['lidar_path']).read_bytes() == scene.points.tobytes()
        actual = info['eval_ann_info']['gt_bboxes_3d'].tensor.numpy()
        np.testing.assert_allclose(actual[:, :6], scene.boxes[:, :6], atol=1e-3)
        turn = (actual[:, 6] - scene.boxes[:, 6] + np.pi) % (2 * np.pi) - np.pi
        np.testing.assert_allclose(turn, 0, atol=1e-3)
        assert info['eval_ann_info']['gt_labels_3d'].tolist() == scene.labels.tolist()


def test_an_unknown_split_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="lidar_scenes: split is 'vall'; nearest: 'val'"):
        compose('vall', 0)
