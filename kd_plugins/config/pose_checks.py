"""Keypoints and input sizes of a pose config that do not fit each other."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import ConfigError
from .loading import walk

COUNTS = {
    'RTMCCHead': 'out_channels',
    'RTMWHead': 'out_channels',
    'SimCCHead': 'out_channels',
    'RegressionHead': 'num_joints',
    'RLEHead': 'num_joints',
    'IntegralRegressionHead': 'num_joints',
    'DSNTHead': 'num_joints',
}
"""MMPose's heads whose argument of this name is the number of keypoints, and nothing else."""


def pose_metainfo(config: Config) -> dict[str, Any] | None:
    """Return what the training data says of its keypoints: the config's ``metainfo``, else that of the dataset's type.

    Inside wrappers (``RepeatDataset``) the first data set counts.
    """
    for path, node in walk(config.train_dataloader.dataset):
        if 'type' not in node or 'pipeline' in path.split('.'):
            continue
        kind = node['type']
        if isinstance(kind, str):
            with DATASETS.switch_scope_and_registry('mmpose') as registry:
                kind = registry.get(kind)
        metainfo = node.get('metainfo') or getattr(kind, 'METAINFO', None)
        if metainfo:
            return dict(metainfo)
    return None


def _size(value: Any) -> tuple[int, ...] | None:
    return None if value is None else tuple(int(side) for side in value)


def _predicted(head: dict[str, Any]) -> tuple[str, int] | None:
    """Return the head's key for the number of keypoints, and the number."""
    name = COUNTS.get(str(head.get('type')))
    loss = head.get('loss') or {}
    if head.get('type') == 'HeatmapHead' and loss.get('type', 'KeypointMSELoss') != 'CombinedTargetMSELoss':
        name = 'out_channels'  # with CombinedTargetMSELoss each keypoint has two maps of offsets beside its heatmap
    return None if name is None or head.get(name) is None else (name, int(head[name]))


def check_pose(config: Config) -> None:
    """Refuse a head for another number of keypoints than the data has, and input sizes that differ.

    Args:
        config: Of MMPose; others pass.

    Raises:
        ConfigError: Naming the key.
    """
    head = (config.get('model') or {}).get('head')
    dataset = (config.get('train_dataloader') or {}).get('dataset')
    if config.get('default_scope') != 'mmpose' or not isinstance(head, dict) or not dataset:
        return
    _check_sizes(head, dataset)
    metainfo = pose_metainfo(config)
    # Only a CombinedDataset says what comes out of its members' converters.
    converted = dataset.get('type') != 'CombinedDataset' and any(
        node.get('type') == 'KeypointConverter' for _, node in walk(dataset)
    )
    predicted = None if metainfo is None or converted else _predicted(head)
    if predicted is not None:
        from mmpose.datasets.datasets.utils import parse_pose_metainfo

        name, found = predicted
        count = parse_pose_metainfo(metainfo)['num_keypoints']
        if found != count:
            raise ConfigError(
                f'model.head.{name} is {found}, but train_dataloader.dataset has {count} keypoints; make both equal '
                '(the keypoints of a custom data set go into dataset.metainfo)'
            )


def _check_sizes(head: dict[str, Any], dataset: Any) -> None:
    decoder = head.get('decoder')
    decoded = _size(decoder.get('input_size')) if isinstance(decoder, dict) else None
    own = _size(head.get('input_size'))
    if own is not None and decoded is not None and own != decoded:
        raise ConfigError(
            f'model.head.input_size is {own}, but model.head.decoder.input_size is {decoded}; give both the same '
            '(width, height)'
        )
    for path, node in walk(dataset, 'train_dataloader.dataset'):
        step = str(node.get('type'))
        encoder = node.get('encoder') if step == 'GenerateTarget' else node if step == 'TopdownAffine' else None
        given = _size(encoder.get('input_size')) if isinstance(encoder, dict) else None
        if given is not None and decoded is not None and given != decoded:
            key = f'{path}.encoder.input_size' if step == 'GenerateTarget' else f'{path}.input_size'
            raise ConfigError(
                f'{key} is {given}, but model.head.decoder.input_size is {decoded}; give both the same (width, height)'
            )
