"""Boxes at the camera, their place in the image, and what a frame holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.lidar_frames import camera_frame, from_labels, image_boxes, lidar_frame, to_camera
from tests.evaluation import kitti_frames
from tests.evaluation.kitti_frames import CAM2IMG, LIDAR2CAM

# x ahead, y left, z up of the LiDAR to x right, y down, z ahead of the camera, without an offset.
AHEAD = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
FOCAL = np.array([[100.0, 0, 50, 0], [0, 100, 40, 0], [0, 0, 1, 0]])
CLASSES = ('Pedestrian', 'Car')
CAR = [10.0, 2.0, -1.0, 4.0, 2.0, 1.5, 0.0]


def predicted(*rows: list[float], labels: Any = None) -> dict[str, Any]:
    boxes = torch.tensor(rows).reshape(-1, 7)
    count = len(boxes)
    labels = torch.ones(count, dtype=torch.long) if labels is None else torch.tensor(labels)
    actual = {'bboxes_3d': boxes, 'labels_3d': labels, 'scores_3d': torch.linspace(0.9, 0.1, count)}
    return {'pred_instances_3d': actual}


def info(*instances: dict[str, Any]) -> dict[str, Any]:
    view = {'lidar2cam': AHEAD.tolist(), 'cam2img': FOCAL.tolist(), 'width': 100, 'height': 80}
    return {'images': {'CAM2': view}, 'instances': list(instances)}


def instance(label: int, bbox: list[float]) -> dict[str, Any]:
    return {
        'bbox_label': label,
        # KITTI: x, y, z, length, height, width, rotation; the same car as CAR.
        'bbox_3d': [-2.0, 1.0, 10.0, 4.0, 1.5, 2.0, -np.pi / 2],
        'bbox': bbox,
        'occluded': 1,
        'truncated': 0.25,
    }


def test_a_box_at_the_camera_by_hand() -> None:
    # 10 m ahead and 2 m to the left is 2 m to the left of the right axis; ahead is a quarter turn from right.
    expected = [[-2.0, 10.0, -1.0, 4.0, 2.0, 1.5, np.pi / 2]]
    np.testing.assert_allclose(to_camera(np.array([CAR]), AHEAD), expected, atol=1e-12)


def test_labels_and_lidar_boxes_are_the_same_boxes() -> None:
    frame = kitti_frames.random_frame(np.random.default_rng(0))
    labels = np.array([entry['bbox_3d'] for entry in frame['instances'] if entry['bbox_label'] >= 0])
    at_camera = to_camera(kitti_frames.lidar_boxes(labels), np.array(LIDAR2CAM))
    expected = from_labels(labels)
    turns = (at_camera[:, 6] - expected[:, 6]) / (2 * np.pi)
    np.testing.assert_allclose(turns, turns.round(), atol=1e-9)
    np.testing.assert_allclose(at_camera[:, :6], expected[:, :6], atol=1e-9)


def test_corners_in_the_image_by_hand() -> None:
    # A car straight ahead, from 8 to 12 m, 2 m wide, from 1 m below to 0.5 m above the camera.
    box = to_camera(np.array([[10.0, 0, -1, 4, 2, 1.5, 0]]), AHEAD)
    # The near face is the larger one: +-1 m at 8 m are 12.5 pixels.
    np.testing.assert_allclose(image_boxes(box, FOCAL), [[37.5, 33.75, 62.5, 52.5]])


def test_projection_equals_that_of_the_corners() -> None:
    mmdet3d = pytest.importorskip('mmdet3d.structures')
    rng = np.random.default_rng(1)
    boxes = np.concatenate(
        [rng.uniform([8, -4, -2], [40, 4, 0], (20, 3)), rng.uniform(1, 4, (20, 3)), rng.uniform(-3, 3, (20, 1))], 1
    )
    matrix = np.array(AHEAD)
    corners = mmdet3d.LiDARInstance3DBoxes(torch.tensor(boxes)).corners.double().numpy()
    points = np.concatenate([corners, np.ones((20, 8, 1))], -1) @ matrix.T @ np.array(CAM2IMG).T
    pixels = points[..., :2] / points[..., 2:3]
    expected = np.concatenate([pixels.min(1), pixels.max(1)], 1)
    np.testing.assert_allclose(image_boxes(to_camera(boxes, matrix), np.array(CAM2IMG)), expected, rtol=1e-4, atol=1e-2)


def test_a_frame_of_the_camera() -> None:
    aside = [10.0, 30.0, *CAR[2:]]
    sample = predicted(CAR, aside)
    frame = camera_frame(sample, info(instance(2, [10, 20, 40, 60]), instance(-1, [0, 0, 9, 9])), CLASSES, {'Car': 2})
    assert frame.names == ['Car'] and frame.scores.tolist() == pytest.approx([0.9])
    assert frame.object_names == ['Car'] and frame.object_heights.tolist() == [40]
    assert frame.occluded.tolist() == [1] and frame.truncated.tolist() == [0.25] and frame.has_camera
    np.testing.assert_allclose(frame.volume, [[1.0]])
    np.testing.assert_allclose(frame.bev, [[1.0]])


def test_the_range_leaves_predictions_out() -> None:
    sample = predicted(CAR)
    near = camera_frame(sample, info(), CLASSES, {'Car': 2}, limit_range=[0, -5, -3, 9, 5, 1])
    assert near.names == [] and near.bev.shape == (0, 0)
    assert camera_frame(sample, info(), CLASSES, {'Car': 2}, limit_range=[0, -5, -3, 11, 5, 1]).names == ['Car']


def test_a_frame_without_a_camera() -> None:
    sample = predicted(CAR, CAR, labels=[1, 0])
    sample['eval_ann_info'] = {'gt_bboxes_3d': torch.tensor([CAR]), 'gt_labels_3d': np.array([1])}
    frame = lidar_frame(sample, CLASSES)
    assert frame.names == ['Car', 'Pedestrian'] and frame.object_names == ['Car'] and not frame.has_camera
    assert np.isinf(frame.heights).all() and np.isinf(frame.object_heights).all() and not frame.occluded.any()
    np.testing.assert_allclose(frame.volume, [[1.0], [1.0]])
    sample['eval_ann_info'] = {'gt_bboxes_3d': torch.zeros(0, 7), 'gt_labels_3d': np.zeros(0, np.int64)}
    assert lidar_frame(sample, CLASSES).bev.shape == (2, 0)


def test_sentences() -> None:
    with pytest.raises(ConfigError, match="val_evaluator.camera: 'CAM3' is not in the infos; nearest: 'CAM2'"):
        camera_frame(predicted(CAR), info(), CLASSES, {'Car': 2}, camera='CAM3')
    with pytest.raises(ConfigError, match='data samples have no eval_ann_info; set test_mode=True'):
        lidar_frame(predicted(CAR), CLASSES)
    upright = SimpleNamespace(tensor=torch.tensor([CAR]), YAW_AXIS=1)
    sample = predicted(CAR)
    sample['pred_instances_3d']['bboxes_3d'] = upright
    with pytest.raises(ConfigError, match='predictions are SimpleNamespace; valid: LiDARInstance3DBoxes'):
        camera_frame(sample, info(), CLASSES, {'Car': 2})
