"""Checks of keypoint counts and input sizes in a pose config."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import ConfigError
from .keypoint_metainfo import keypoint_names
from .loading import class_name, walk

COUNT_ARGUMENTS = {
    'RTMCCHead': 'out_channels',
    'RTMWHead': 'out_channels',
    'SimCCHead': 'out_channels',
    'RegressionHead': 'num_joints',
    'RLEHead': 'num_joints',
    'IntegralRegressionHead': 'num_joints',
    'DSNTHead': 'num_joints',
}
"""Heads of MMPose to the argument that is the number of keypoints."""


def pose_metainfo(config: Config) -> tuple[str, dict[str, Any]] | None:
    """Return key and keypoint metadata of the training data, from the config's ``metainfo`` or the dataset's type.

    In a wrapper (``RepeatDataset``), the first data set counts.
    """
    for path, node in walk(config.train_dataloader.dataset):
        if 'type' not in node or 'pipeline' in path.split('.'):
            continue
        dataset_type = node['type']
        if isinstance(dataset_type, str):
            with DATASETS.switch_scope_and_registry('mmpose') as registry:
                dataset_type = registry.get(dataset_type)
        metainfo = node.get('metainfo') or getattr(dataset_type, 'METAINFO', None)
        if metainfo:
            return f'train_dataloader.dataset{path and "." + path}.metainfo', dict(metainfo)
    return None


def _size(value: Any) -> tuple[int, ...] | None:
    return None if value is None else tuple(int(side) for side in value)


def _predicted(head: dict[str, Any]) -> tuple[str, int] | None:
    """Return the head's key for the number of keypoints, and the number."""
    name = COUNT_ARGUMENTS.get(class_name(head))
    loss = head.get('loss') or {}
    if class_name(head) == 'HeatmapHead' and class_name(loss) != 'CombinedTargetMSELoss':
        name = 'out_channels'  # with CombinedTargetMSELoss, each keypoint has a heatmap and two offset maps
    return None if name is None or head.get(name) is None else (name, int(head[name]))


def check_pose(config: Config) -> None:
    """Refuse a head whose number of keypoints differs from that of the data, and input sizes that differ.

    Args:
        config: The resolved config; only those of MMPose are checked.

    Raises:
        ConfigError: Naming the key.
    """
    head = (config.get('model') or {}).get('head')
    dataset = (config.get('train_dataloader') or {}).get('dataset')
    if config.get('default_scope') != 'mmpose' or not isinstance(head, dict) or not dataset:
        return
    _check_sizes(head, dataset)
    metainfo = pose_metainfo(config)
    names = keypoint_names(metainfo[1], metainfo[0]) if metainfo is not None else []
    # A converter changes the number of keypoints; only a CombinedDataset states the resulting metainfo.
    converted = class_name(dataset) != 'CombinedDataset' and any(
        class_name(node) == 'KeypointConverter' for _, node in walk(dataset)
    )
    predicted = None if metainfo is None or converted else _predicted(head)
    if predicted is not None:
        name, predicted_count = predicted
        count = len(names)
        if predicted_count != count:
            raise ConfigError(
                f'model.head.{name} is {predicted_count}, but train_dataloader.dataset has {count} keypoints; make '
                'both equal (the keypoints of a custom data set go into dataset.metainfo)'
            )


def _check_sizes(head: dict[str, Any], dataset: Any) -> None:
    decoder = head.get('decoder')
    decoder_size = _size(decoder.get('input_size')) if isinstance(decoder, dict) else None
    head_size = _size(head.get('input_size'))
    if head_size is not None and decoder_size is not None and head_size != decoder_size:
        raise ConfigError(
            f'model.head.input_size is {head_size}, but model.head.decoder.input_size is {decoder_size}; give both the '
            'same (width, height)'
        )
    for path, node in walk(dataset, 'train_dataloader.dataset'):
        step = class_name(node)
        encoder = node.get('encoder') if step == 'GenerateTarget' else node if step == 'TopdownAffine' else None
        size = _size(encoder.get('input_size')) if isinstance(encoder, dict) else None
        if size is not None and decoder_size is not None and size != decoder_size:
            key = f'{path}.encoder.input_size' if step == 'GenerateTarget' else f'{path}.input_size'
            raise ConfigError(
                f'{key} is {size}, but model.head.decoder.input_size is {decoder_size}; give both the same '
                '(width, height)'
            )
