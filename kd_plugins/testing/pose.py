"""MMPose: noise images with random keypoints, encoded by the config's own codec."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from torch.utils.data import Dataset

from ..config.loading import walk
from ..config.pose_checks import pose_metainfo
from ..errors import ConfigError
from ..registry import DATASETS


@DATASETS.register_module()
class GeneratedPose(Dataset):
    """One person per noise image, the same few images as often as ``length`` asks.

    Keypoints lie in the network's input already, so that only the last steps of a training pipeline run: those that
    make the targets, whatever the head predicts (SimCC, heatmaps, coordinates), and pack them.

    Args:
        pipeline: The steps from ``GenerateTarget`` on.
        metainfo: What the real data set says of its keypoints.
        size: Width and height of the network's input in pixels.
        images: Number of different images.
        length: Number of items; schedules by epoch and warm-ups need a data set of ordinary length.
    """

    def __init__(
        self,
        pipeline: Sequence[dict[str, Any]],
        metainfo: dict[str, Any],
        size: tuple[int, int],
        images: int = 8,
        length: int = 2000,
    ) -> None:
        from mmpose.datasets.datasets.utils import parse_pose_metainfo
        from mmpose.registry import TRANSFORMS

        self.length = length
        self.metainfo = parse_pose_metainfo(dict(metainfo))
        steps = [TRANSFORMS.build(dict(step)) for step in pipeline]
        generator = np.random.default_rng(0)
        self.items = []
        for index in range(images):
            results: Any = self._person(index, (int(size[0]), int(size[1])), generator)
            for step in steps:
                results = step(results)
            self.items.append(results)

    def _person(self, index: int, size: tuple[int, int], generator: np.random.Generator) -> dict[str, Any]:
        width, height = size
        count = self.metainfo['num_keypoints']
        keypoints = generator.uniform(0.1, 0.9, (1, count, 2)) * size
        whole, centre = np.array([size], np.float32), np.array([[width / 2, height / 2]], np.float32)
        return {
            'img': generator.integers(0, 256, (height, width, 3), dtype=np.uint8),
            'img_id': index,
            'img_path': f'generated_{index}.png',
            'id': index,
            'category_id': np.array(1),
            'ori_shape': (height, width),
            'img_shape': (height, width),
            'input_size': size,
            'input_center': centre[0],
            'input_scale': whole[0],
            'bbox': np.array([[0, 0, width, height]], np.float32),
            'bbox_score': np.ones(1, np.float32),
            'bbox_center': centre,
            'bbox_scale': whole,
            'area': np.array([width * height], np.float32),
            'keypoints': keypoints.astype(np.float32),
            'keypoints_visible': (generator.random((1, count)) < 7 / 8).astype(np.float32),
            'dataset_keypoint_weights': self.metainfo['dataset_keypoint_weights'],
            'flip_indices': self.metainfo['flip_indices'],
        }

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        # The preprocessor changes samples in place, and their own clone() shares the tensors.
        return copy.deepcopy(self.items[index % len(self.items)])


def target_steps(config: Config) -> list[dict[str, Any]]:
    """Return the steps of the training pipeline from ``GenerateTarget`` on.

    Raises:
        ConfigError: If there is none, as for poses lifted from other poses.
    """
    for _, node in walk(config.train_dataloader.dataset):
        steps = list(node.get('pipeline') or [])
        for place, step in enumerate(steps):
            if str(step.get('type')).endswith('GenerateTarget'):
                return steps[place:]
    raise ConfigError(
        "--generated: train_dataloader.dataset has no pipeline with a 'GenerateTarget', whose codec would make the "
        'targets, so a data set is needed'
    )


def input_size(steps: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Return width and height that the codec works for.

    >>> input_size([{'type': 'GenerateTarget', 'encoder': [{'input_size': (192, 256)}]}])
    (192, 256)
    """
    for _, node in walk(list(steps)):
        if 'input_size' in node:
            width, height = node['input_size']
            return int(width), int(height)
    raise ConfigError('--generated: the codec of the training pipeline has no input_size, so a data set is needed')


def generated_dataset(config: Config, batch_size: int) -> dict[str, Any]:
    """Return the config of a data set that suits a pose estimator.

    Args:
        config: The pose estimator's whole config.
        batch_size: Images per batch.
    """
    steps = target_steps(config)
    metainfo = pose_metainfo(config)
    if metainfo is None:
        kind = config.train_dataloader.dataset.type
        raise ConfigError(
            f"--generated: train_dataloader.dataset.metainfo is missing, and '{kind}' has none of its own"
        )
    return dict(
        type='kd_plugins.GeneratedPose',
        pipeline=steps,
        metainfo=metainfo,
        size=input_size(steps),
        images=4 * batch_size,
        length=1000 * batch_size,
    )
