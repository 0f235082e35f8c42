"""MMDetection3D: point clouds with boxes that hold points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor
from torch.utils.data import Dataset

from ..config.data_checks import dataset_classes
from ..config.gpu_only import needs_gpu
from ..config.loading import walk
from ..errors import ConfigError
from ..registry import DATASETS

GROUND = -1.73
"""Height of the ground below the sensor, in metres."""
SIZES = {'pedestrian': (0.8, 0.6, 1.73), 'cyclist': (1.76, 0.6, 1.73), 'car': (3.9, 1.6, 1.56)}


@DATASETS.register_module()
class GeneratedLidar(Dataset):
    """The same few point clouds, as often as ``length`` asks: a flat ground and a few boxes with points inside.

    Args:
        classes: Class names, as the real data would have them.
        point_cloud_range: Smallest x, y, z and largest x, y, z.
        points: Points per cloud.
        point_dim: Values per point: x, y, z, and others in [0, 1].
        box_dim: Values per box: 7, and two of velocity where it is 9.
        clouds: Number of different clouds.
        length: Number of items; schedules by epoch and warm-ups need a data set of ordinary length.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        point_cloud_range: Sequence[float],
        points: int = 8000,
        point_dim: int = 4,
        box_dim: int = 7,
        clouds: int = 8,
        length: int = 2000,
    ) -> None:
        self.metainfo = {'classes': tuple(classes)}
        self.length = length
        low, high = torch.tensor(point_cloud_range, dtype=torch.float32).view(2, 3)
        self.items = [self._cloud(index, low, high, points, point_dim, box_dim) for index in range(clouds)]

    def _cloud(
        self, index: int, low: Tensor, high: Tensor, points: int, point_dim: int, box_dim: int
    ) -> dict[str, Any]:
        from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
        from mmengine.structures import InstanceData

        generator = torch.Generator().manual_seed(index)
        names = self.metainfo['classes']
        labels = torch.arange(2 * len(names)) % len(names)
        sizes = torch.tensor([SIZES.get(names[label].lower(), SIZES['car']) for label in labels])
        # Within the middle half of the range, so that no box is cut.
        place = torch.rand(len(labels), 2, generator=generator)
        place = (low + high)[:2] / 2 + (place - 0.5) * (high - low)[:2] / 2
        floor = max(GROUND, float(low[2]))
        yaw = (torch.rand(len(labels), 1, generator=generator) - 0.5) * 6
        boxes = torch.cat([place, torch.full((len(labels), 1), floor), sizes, yaw], dim=1)
        ground = torch.rand(points, 3, generator=generator) * (high - low) + low
        ground[:, 2] = floor
        # A third of the points lie in the boxes, equally many in each.
        inside = points // 3 // len(labels)
        owner = torch.arange(len(labels)).repeat_interleave(inside)
        offset = (torch.rand(len(owner), 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])) * sizes[owner]
        cos, sin = yaw[owner, 0].cos(), yaw[owner, 0].sin()
        turned = torch.stack(
            [cos * offset[:, 0] - sin * offset[:, 1], sin * offset[:, 0] + cos * offset[:, 1], offset[:, 2]], dim=1
        )
        ground[: len(owner)] = boxes[owner, :3] + turned
        order = torch.randperm(points, generator=generator)
        others = torch.rand(points, point_dim - 3, generator=generator)
        velocity = torch.zeros(len(labels), box_dim - 7)
        sample = Det3DDataSample(metainfo=dict(box_type_3d=LiDARInstance3DBoxes, sample_idx=index))
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.cat([boxes, velocity], dim=1), box_dim=box_dim), labels_3d=labels
        )
        return {'inputs': {'points': torch.cat([ground, others], dim=1)[order]}, 'data_samples': sample}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.items[index % len(self.items)]
        # Some point encoders write into their input.
        return {'inputs': {'points': item['inputs']['points'].clone()}, 'data_samples': item['data_samples'].clone()}


def _found(config: Config, key: str, *parts: str) -> Any:
    nodes = (node for part in parts for _, node in walk(config.get(part), part))
    return next((node[key] for node in nodes if node.get(key) is not None), None)


def generated_dataset(config: Config, batch_size: int) -> dict[str, Any]:
    """Return the config of a data set that suits a LiDAR detector.

    Args:
        config: The detector's whole config; the range of its voxels, or of its pipeline, is filled with points.
        batch_size: Clouds per batch.

    Raises:
        ConfigError: If the detector has no range of points, as detectors on images have none, or needs a GPU that is
            not there.
    """
    lacking = needs_gpu(config)
    if lacking:
        raise ConfigError(f'--generated: {lacking}')
    limits = _found(config, 'point_cloud_range', 'model', 'train_dataloader')
    if limits is None:
        raise ConfigError(
            '--generated: neither model nor train_dataloader has a point_cloud_range; point clouds are generated for '
            'LiDAR detectors only'
        )
    count = _found(config, 'num_classes', 'model') or 3
    used = _found(config, 'use_dim', 'train_dataloader') or 4
    return dict(
        type='kd_plugins.GeneratedLidar',
        classes=dataset_classes(config) or tuple(f'class_{index}' for index in range(count)),
        point_cloud_range=list(limits),
        points=_found(config, 'num_points', 'train_dataloader') or 8000,
        point_dim=used if isinstance(used, int) else len(used),
        box_dim=9 if _found(config, 'code_size', 'model') == 9 else 7,
        clouds=4 * batch_size,
        length=1000 * batch_size,
    )
