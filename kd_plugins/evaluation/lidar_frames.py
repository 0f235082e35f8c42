"""Overlaps and attributes of one LiDAR frame, from MMDetection3D's data samples and infos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, nearest
from ..ops.rotated_iou import box_overlaps

Array = NDArray[np.float64]
CORNERS = np.array([[u, v, w] for u in (-0.5, 0.5) for v in (-0.5, 0.5) for w in (0.0, 1.0)])


@dataclass(frozen=True)
class Frame:
    """Overlaps of one frame, and the attributes by which detections and objects count.

    Attributes:
        bev: Overlap of each detection with each object from above, shape (D, G).
        volume: Overlap of each detection with each object in space, shape (D, G).
        scores: Scores of the detections, shape (D,).
        names: Class names of the detections.
        heights: Heights of the detections in the image in pixels, infinite without a camera, shape (D,).
        object_names: Class names of the objects, including classes that the detector is not trained for.
        object_heights: Heights of the objects in the image in pixels, infinite without a camera, shape (G,).
        occluded: KITTI's degree of occlusion, 0 to 3, shape (G,).
        truncated: Part of each object outside the image, shape (G,).
        has_camera: Whether heights, occlusion and truncation are known.
    """

    bev: Array
    volume: Array
    scores: Array
    names: list[str]
    heights: Array
    object_names: list[str]
    object_heights: Array
    occluded: Array
    truncated: Array
    has_camera: bool


def to_camera(boxes: Array, lidar2cam: Array) -> Array:
    """Return boxes of the LiDAR frame in an upright coordinate frame at the camera.

    Args:
        boxes: x, y, z of the bottom's centre, length, width, height and counter-clockwise angle, shape (N, 7).
        lidar2cam: Shape (4, 4).

    Returns:
        Shape (N, 7), the same columns on the axes right, forward, up. As in MMDetection3D and KITTI's labels, the
        camera is assumed to be level, so that a box stands on a plane of the camera.
    """
    points = np.concatenate([boxes[:, :3], np.ones((len(boxes), 1))], axis=1) @ lidar2cam.T
    centre = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)
    return np.concatenate([centre, boxes[:, 3:6], boxes[:, 6:] + np.pi / 2], axis=1)


def from_labels(labels: Array) -> Array:
    """Return KITTI's boxes (x, y, z, length, height, width, rotation_y), shape (N, 7), as from :func:`to_camera`."""
    order = labels.reshape(-1, 7)[:, [0, 2, 1, 3, 5, 4, 6]]
    return order * np.array([1, 1, -1, 1, 1, 1, -1])


def image_boxes(boxes: Array, cam2img: Array) -> Array:
    """Return the smallest image box (x1, y1, x2, y2) around each box's projection, shape (N, 4).

    Args:
        boxes: Boxes from :func:`to_camera`, shape (N, 7).
        cam2img: Shape (3, 4) or (4, 4).
    """
    local = CORNERS[None] * boxes[:, None, 3:6]
    cos, sin = np.cos(boxes[:, 6:]), np.sin(boxes[:, 6:])
    right = boxes[:, :1] + cos * local[..., 0] - sin * local[..., 1]
    forward = boxes[:, 1:2] + sin * local[..., 0] + cos * local[..., 1]
    up = boxes[:, 2:3] + local[..., 2]
    points = np.stack([right, -up, forward, np.ones_like(up)], axis=-1) @ cam2img[:3].T
    pixels = points[..., :2] / np.where(points[..., 2:] == 0, 1e-9, points[..., 2:])
    return np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)


def _predictions(sample: Mapping[str, Any], classes: Sequence[str]) -> tuple[Array, Array, list[str]]:
    predictions = sample['pred_instances_3d']
    boxes = predictions['bboxes_3d']
    if getattr(boxes, 'YAW_AXIS', 2) != 2:
        raise ConfigError(
            f'val_evaluator: predictions are {type(boxes).__name__}; valid: LiDARInstance3DBoxes, whose z points up'
        )
    labels = _array(predictions['labels_3d']).astype(np.int64)
    return _box_rows(boxes), _array(predictions['scores_3d']), [classes[label] for label in labels]


def _box_rows(boxes: Any) -> Array:
    rows = _array(boxes)
    return rows.reshape(len(rows), -1)[:, :7] if len(rows) else np.zeros((0, 7))


def _array(values: Any) -> Array:
    values = getattr(values, 'tensor', values)
    values = values.detach().cpu().numpy() if hasattr(values, 'detach') else values
    return np.asarray(values, dtype=np.float64)


def lidar_frame(sample: Mapping[str, Any], classes: Sequence[str]) -> Frame:
    """Return a frame with the objects of the data sample, without attributes of a camera.

    Args:
        sample: A data sample as a dict, with ``eval_ann_info`` of a data set in ``test_mode``.
        classes: Class names.

    Raises:
        ConfigError: If it has no annotations.
    """
    annotations = sample.get('eval_ann_info')
    if annotations is None or 'gt_bboxes_3d' not in annotations:
        raise ConfigError(
            'val_dataloader.dataset: data samples have no eval_ann_info; set test_mode=True and load_eval_anns=True'
        )
    boxes, scores, names = _predictions(sample, classes)
    labels = _array(annotations['gt_labels_3d']).astype(np.int64)
    bev, volume = box_overlaps(boxes, _box_rows(annotations['gt_bboxes_3d']))
    unknown, zeros = np.full(len(labels), np.inf), np.zeros(len(labels))
    return Frame(
        bev=bev,
        volume=volume,
        scores=scores,
        names=names,
        heights=np.full(len(scores), np.inf),
        object_names=[classes[label] for label in labels],
        object_heights=unknown,
        occluded=zeros,
        truncated=zeros,
        has_camera=False,
    )


def camera_frame(
    sample: Mapping[str, Any],
    info: Mapping[str, Any],
    classes: Sequence[str],
    categories: Mapping[str, int],
    camera: str = 'CAM2',
    limit_range: Sequence[float] | None = None,
) -> Frame:
    """Return a frame in the coordinates of the camera, without predictions outside the image, as in KITTI.

    Args:
        sample: A data sample as a dict.
        info: An entry of MMDetection3D's KITTI infos: ``instances`` and ``images``.
        classes: Class names of the predictions.
        categories: Class name to the label in ``instances``.
        camera: Name of the camera.
        limit_range: (x, y, z, x, y, z) in the LiDAR frame; predictions with the centre of their bottom outside are left
            out.

    Raises:
        ConfigError: If there is no such camera.
    """
    if camera not in info['images']:
        raise ConfigError(f"val_evaluator.camera: '{camera}' is not in the infos; {nearest(camera, info['images'])}")
    view = info['images'][camera]
    boxes, scores, names = _predictions(sample, classes)
    upright = to_camera(boxes, _array(view['lidar2cam']))
    shown = image_boxes(upright, _array(view['cam2img']))
    size = np.array([view['width'], view['height']], dtype=np.float64)
    keep = (shown[:, :2] < size).all(axis=1) & (shown[:, 2:] > 0).all(axis=1)
    if limit_range is not None:
        low, high = np.asarray(limit_range[:3]), np.asarray(limit_range[3:])
        keep &= ((boxes[:, :3] > low) & (boxes[:, :3] < high)).all(axis=1)
    shown = shown[keep]
    heights = np.minimum(shown[:, 3], size[1]) - np.maximum(shown[:, 1], 0.0)
    names_of = {label: name for name, label in categories.items() if label >= 0}
    # DontCare areas (label -1) are image boxes, which KITTI uses for 2-D detection only.
    instances = [instance for instance in info['instances'] if instance['bbox_label'] in names_of]
    objects = from_labels(_array([instance['bbox_3d'] for instance in instances]))
    image = _array([instance['bbox'] for instance in instances]).reshape(-1, 4)
    bev, volume = box_overlaps(upright[keep], objects)
    return Frame(
        bev=bev,
        volume=volume,
        scores=scores[keep],
        names=[names[index] for index in np.flatnonzero(keep)],
        heights=np.abs(heights),
        object_names=[names_of[instance['bbox_label']] for instance in instances],
        object_heights=image[:, 3] - image[:, 1],
        occluded=_array([instance['occluded'] for instance in instances]),
        truncated=_array([instance['truncated'] for instance in instances]),
        has_camera=True,
    )
