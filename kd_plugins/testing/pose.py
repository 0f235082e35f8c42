"""Generated data for MMPose: noise images with random keypoints, encoded by the codec of the config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config

from ..config.loading import class_name, walk
from ..config.pose_checks import pose_metainfo
from ..errors import ConfigError
from ..registry import DATASETS
from .items import RepeatedItems


@DATASETS.register_module()
class GeneratedPose(RepeatedItems):
    """Noise images with one person each.

    The keypoints are drawn in the coordinates of the network's input. Of the training pipeline only the last steps run:
    they make the targets of the head (SimCC, heatmaps or coordinates) and pack them.

    Args:
        pipeline: The steps from ``GenerateTarget`` on.
        metainfo: Keypoint metadata of the real data set.
        size: Width and height of the network's input in pixels.
        num_items: Number of different images.
        length: Number of items of the data set.
    """

    def __init__(
        self,
        pipeline: Sequence[dict[str, Any]],
        metainfo: dict[str, Any],
        size: tuple[int, int],
        num_items: int = 8,
        length: int = 2000,
    ) -> None:
        from mmpose.datasets.datasets.utils import parse_pose_metainfo
        from mmpose.registry import TRANSFORMS

        parsed = parse_pose_metainfo(dict(metainfo))
        steps = [TRANSFORMS.build(dict(step)) for step in pipeline]
        generator = np.random.default_rng(0)
        items = []
        for index in range(num_items):
            results: Any = self._person(index, parsed, (int(size[0]), int(size[1])), generator)
            for step in steps:
                results = step(results)
            items.append(results)
        super().__init__(items, length, parsed)

    @staticmethod
    def _person(
        index: int, metainfo: dict[str, Any], size: tuple[int, int], generator: np.random.Generator
    ) -> dict[str, Any]:
        width, height = size
        count = metainfo['num_keypoints']
        keypoints = generator.uniform(0.1, 0.9, (1, count, 2)) * size
        scale, centre = np.array([size], np.float32), np.array([[width / 2, height / 2]], np.float32)
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
            'input_scale': scale[0],
            'bbox': np.array([[0, 0, width, height]], np.float32),
            'bbox_score': np.ones(1, np.float32),
            'bbox_center': centre,
            'bbox_scale': scale,
            'area': np.array([width * height], np.float32),
            'keypoints': keypoints.astype(np.float32),
            'keypoints_visible': (generator.random((1, count)) < 7 / 8).astype(np.float32),
            'dataset_keypoint_weights': metainfo['dataset_keypoint_weights'],
            'flip_indices': metainfo['flip_indices'],
        }


def target_steps(config: Config) -> list[dict[str, Any]]:
    """Return the steps of the training pipeline from ``GenerateTarget`` on.

    Raises:
        ConfigError: If the pipeline has no ``GenerateTarget``, as for the lifting of 2-D poses to 3-D.
    """
    for _, node in walk(config.train_dataloader.dataset):
        steps = list(node.get('pipeline') or [])
        for position, step in enumerate(steps):
            if class_name(step).endswith('GenerateTarget'):
                return steps[position:]
    raise ConfigError(
        "generated data: train_dataloader.dataset has no pipeline with a 'GenerateTarget', whose codec would "
        'make the targets'
    )


def input_size(steps: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Return the input size (width, height) of the codec.

    Args:
        steps: Steps of the training pipeline.

    Raises:
        ConfigError: If the codec has no ``input_size``.

    >>> input_size([{'type': 'GenerateTarget', 'encoder': [{'input_size': (192, 256)}]}])
    (192, 256)
    """
    for _, node in walk(list(steps)):
        if 'input_size' in node:
            width, height = node['input_size']
            return int(width), int(height)
    raise ConfigError('generated data: the codec of the training pipeline has no input_size')


def generated_dataset(config: Config) -> dict[str, Any]:
    """Return the config of a data set that suits a pose estimator.

    Args:
        config: The pose estimator's whole config.

    Raises:
        ConfigError: If the model takes whole images, or the config has no keypoint metadata, ``GenerateTarget`` or
            ``input_size``.
    """
    kind = class_name(config.model)
    if kind == 'BottomupPoseEstimator':
        raise ConfigError(
            f"generated data: model.type is '{kind}', for which no data is generated; nearest: 'TopdownPoseEstimator'"
        )
    steps = target_steps(config)
    _, metainfo = pose_metainfo(config) or ('', None)
    if metainfo is None:
        dataset_type = config.train_dataloader.dataset.type
        raise ConfigError(
            f"generated data: train_dataloader.dataset.metainfo is missing, and '{dataset_type}' has no METAINFO"
        )
    return dict(
        type='kd_plugins.GeneratedPose',
        pipeline=steps,
        metainfo=metainfo,
        size=input_size(steps),
    )
