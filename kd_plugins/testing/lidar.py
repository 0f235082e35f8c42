"""Generated data for MMDetection3D: point clouds with boxes that contain points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from ..config.gpu_only import needs_gpu
from ..config.loading import walk
from ..errors import ConfigError
from ..registry import DATASETS
from .items import RepeatedItems, class_names

GROUND = -1.73
"""Height of the ground below the sensor, in metres."""
SIZES = {'pedestrian': (0.8, 0.6, 1.73), 'cyclist': (1.76, 0.6, 1.73), 'car': (3.9, 1.6, 1.56)}
"""Length, width and height of each class in metres; other classes have those of a car."""


@DATASETS.register_module()
class GeneratedLidar(RepeatedItems):
    """Point clouds of a flat ground and two boxes of each class with points inside.

    Args:
        classes: Class names.
        point_cloud_range: Smallest x, y, z and largest x, y, z, in metres.
        num_points: Points per cloud.
        point_dim: Values per point: x, y, z, and others in [0, 1].
        box_dim: Values per box: 7, or 9 with two values of velocity, which are 0.
        num_items: Number of different clouds.
        length: Number of items of the data set.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        point_cloud_range: Sequence[float],
        num_points: int = 8000,
        point_dim: int = 4,
        box_dim: int = 7,
        num_items: int = 8,
        length: int = 2000,
    ) -> None:
        low, high = torch.tensor(point_cloud_range, dtype=torch.float32).view(2, 3)
        items = [self._cloud(index, classes, low, high, num_points, point_dim, box_dim) for index in range(num_items)]
        super().__init__(items, length, {'classes': tuple(classes)})

    @staticmethod
    def _cloud(
        index: int, names: Sequence[str], low: Tensor, high: Tensor, num_points: int, point_dim: int, box_dim: int
    ) -> dict[str, Any]:
        from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
        from mmengine.structures import InstanceData

        generator = torch.Generator().manual_seed(index)
        labels = torch.arange(2 * len(names)) % len(names)
        sizes = torch.tensor([SIZES.get(names[label].lower(), SIZES['car']) for label in labels])
        # The centres lie in the middle half of the range, so that no box crosses its border.
        centres = torch.rand(len(labels), 2, generator=generator)
        centres = (low + high)[:2] / 2 + (centres - 0.5) * (high - low)[:2] / 2
        floor = max(GROUND, float(low[2]))
        yaw = (torch.rand(len(labels), 1, generator=generator) - 0.5) * 6
        boxes = torch.cat([centres, torch.full((len(labels), 1), floor), sizes, yaw], dim=1)
        points = torch.rand(num_points, 3, generator=generator) * (high - low) + low
        points[:, 2] = floor
        # A third of the points lie in the boxes, equally many in each.
        inside = num_points // 3 // len(labels)
        owner = torch.arange(len(labels)).repeat_interleave(inside)
        offset = (torch.rand(len(owner), 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])) * sizes[owner]
        cos, sin = yaw[owner, 0].cos(), yaw[owner, 0].sin()
        rotated = torch.stack(
            [cos * offset[:, 0] - sin * offset[:, 1], sin * offset[:, 0] + cos * offset[:, 1], offset[:, 2]], dim=1
        )
        points[: len(owner)] = boxes[owner, :3] + rotated
        order = torch.randperm(num_points, generator=generator)
        features = torch.rand(num_points, point_dim - 3, generator=generator)
        velocity = torch.zeros(len(labels), box_dim - 7)
        sample = Det3DDataSample(metainfo=dict(box_type_3d=LiDARInstance3DBoxes, sample_idx=index))
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.cat([boxes, velocity], dim=1), box_dim=box_dim), labels_3d=labels
        )
        return {'inputs': {'points': torch.cat([points, features], dim=1)[order]}, 'data_samples': sample}


def _first_value(config: Config, key: str, *sections: str) -> Any:
    """Return the first value of a key inside some sections of a config, or ``None``."""
    nodes = (node for section in sections for _, node in walk(config.get(section), section))
    return next((node[key] for node in nodes if node.get(key) is not None), None)


def generated_dataset(config: Config) -> dict[str, Any]:
    """Return the config of a data set that suits a LiDAR detector.

    Args:
        config: The detector's whole config; the points fill the ``point_cloud_range`` of its model or its pipeline.

    Raises:
        ConfigError: If there is no ``point_cloud_range``, as in detectors on images, or if the detector needs a GPU and
            there is none.
    """
    reason = needs_gpu(config)
    if reason:
        raise ConfigError(f'generated data: {reason}')
    limits = _first_value(config, 'point_cloud_range', 'model', 'train_dataloader')
    if limits is None:
        raise ConfigError(
            'generated data: neither model nor train_dataloader has a point_cloud_range; point clouds are generated '
            'for LiDAR detectors only'
        )
    point_dim = _first_value(config, 'use_dim', 'train_dataloader') or 4
    return dict(
        type='kd_plugins.GeneratedLidar',
        classes=class_names(config, _first_value(config, 'num_classes', 'model') or 3),
        point_cloud_range=list(limits),
        num_points=_first_value(config, 'num_points', 'train_dataloader') or 8000,
        point_dim=point_dim if isinstance(point_dim, int) else len(point_dim),
        box_dim=9 if _first_value(config, 'code_size', 'model') == 9 else 7,
    )
