"""Mistakes in a config that would otherwise show minutes later, or never."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import ConfigError, nearest
from .gpu_only import needs_gpu
from .loading import walk
from .pose_checks import check_pose

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
HEADS = {
    'mmdet': ('bbox_head', 'mask_head'),
    'mmseg': ('decode_head', 'auxiliary_head'),
    'mmdet3d': ('bbox_head',),
}
"""Where the models of a scope have heads whose ``num_classes`` is that of the data."""
OTHER_COUNTS = ('GroundingDINOHead', 'STDCHead', 'SideAdapterCLIPHead', 'PointRCNNBboxHead')
"""Heads that count something else: tokens of a text, boundaries, classes without the background, one foreground."""


def check_trainable(config: Config, path: str) -> None:
    """Refuse a config that is a part of a training or a list of several, and one that this machine cannot train.

    Raises:
        ConfigError: Naming the first part that it lacks, or what needs a GPU that is not there.
    """
    if config.get('stages') and not config.get('model'):
        raise ConfigError(f"config: '{path}' lists stages, each a training; tools/train_stages.py trains them")
    for key in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not config.get(key):
            raise ConfigError(f"config: '{path}' has no '{key}', so it cannot be trained; inherit one that has")
    lacking = needs_gpu(config)
    if lacking:
        raise ConfigError(f'{lacking}; train on a machine with one')


def datasets_of(config: Config, loaders: tuple[str, ...] = LOADERS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield config key and dict of every dataset that reads files, inside wrappers as well."""
    for loader in loaders:
        dataset = (config.get(loader) or {}).get('dataset')
        for path, node in walk(dataset, f'{loader}.dataset'):
            if 'type' in node and ('data_root' in node or 'ann_file' in node) and 'pipeline' not in path.split('.'):
                yield path, node


def _is_local(node: dict[str, Any], path: str) -> bool:
    remote = (node.get('backend_args') or {}).get('backend', 'local') != 'local'
    return not remote and '://' not in path


def _missing(key: str, path: Path, config: Config) -> ConfigError:
    above = next((parent for parent in path.parents if parent.is_dir()), Path())
    wanted = path.relative_to(above).parts[0] if path.is_relative_to(above) else path.name
    siblings = sorted(found.name for found in above.iterdir())[:200]
    # `{{$NAME:default}}` in the config or one of its bases.
    variables = dict.fromkeys(re.findall(r'\{\{\s*\$(\w+)\s*:', config.text or ''))
    change = f'the environment variable {" or ".join(variables)}, or ' if variables else ''
    near = nearest(wanted, siblings)
    hint = f"; {near} in '{above}'" if near.startswith('nearest') else ''
    return ConfigError(f"{key}: '{path}' does not exist{hint}; set it with {change}--cfg-options {key}=...")


def check_data(config: Config, loaders: tuple[str, ...] = LOADERS) -> None:
    """Refuse data roots, annotation files and image folders that do not exist.

    Args:
        config: The resolved config.
        loaders: Which data loaders are going to be used.

    Raises:
        ConfigError: Naming the first key whose path does not exist.
    """
    for key, node in datasets_of(config, loaders):
        root = Path(str(node.get('data_root') or ''))
        if node.get('data_root') and _is_local(node, str(node['data_root'])) and not root.is_dir():
            raise _missing(f'{key}.data_root', root, config)
        annotations = node.get('ann_file')
        if isinstance(annotations, str) and annotations and _is_local(node, annotations):
            path = root / annotations
            if not path.exists():
                raise _missing(f'{key}.ann_file', path, config)
        prefix = node.get('data_prefix')
        for name, folder in (prefix if isinstance(prefix, dict) else {}).items():
            # A prefix may also be the beginning of file names.
            if (
                isinstance(folder, str)
                and _is_local(node, folder)
                and folder.endswith('/')
                and not (root / folder).is_dir()
            ):
                raise _missing(f'{key}.data_prefix.{name}', root / folder, config)
    for loader in loaders:
        evaluator = loader.replace('_dataloader', '_evaluator')
        for name, node in walk(config.get(evaluator), evaluator):
            annotations = node.get('ann_file')
            if isinstance(annotations, str) and _is_local(node, annotations) and not Path(annotations).exists():
                raise _missing(f'{name}.ann_file', Path(annotations), config)


def needs_generated(configs: Iterable[Config], asked: bool) -> bool:
    """Return whether generated data stands in for the training data: asked for, or the data is not there.

    What is missing is told to the user.

    Args:
        configs: The resolved configs.
        asked: What ``--generated`` says.
    """
    from ..utils.cli import note

    if asked:
        return True
    try:
        for config in configs:
            check_data(config, ('train_dataloader',))
    except ConfigError as error:
        note(f'{error}; generated data is used instead')
        return True
    return False


def dataset_classes(config: Config) -> tuple[str, ...] | None:
    """Return the class names of the training data: those of the config, else those of the dataset's type.

    Of a panoptic data set these are the things, which its detection heads predict.
    """
    scope = config.get('default_scope') or 'mmengine'
    for _, node in datasets_of(config, ('train_dataloader',)):
        metainfo = node.get('metainfo')
        if isinstance(metainfo, dict) and metainfo.get('classes'):
            classes = metainfo['classes']
            return (classes,) if isinstance(classes, str) else tuple(classes)
        kind = node['type']
        if isinstance(kind, str):
            kind = DATASETS.get(kind) or DATASETS.get(f'{scope}.{kind}')
        known = getattr(kind, 'METAINFO', None) or {}
        return tuple(known.get('thing_classes') or known.get('classes') or ()) or None
    return None


def _predicted_classes(config: Config) -> Iterator[tuple[str, int]]:
    """Yield config key and number of classes of what the model predicts."""
    if config.model.get('type') == 'kd_plugins.VolumetricSegmentor':
        found = (config.model.get('network') or {}).get('out_channels')
        if found is not None:
            yield 'model.network.out_channels', found
        return
    heads = set(HEADS.get(config.get('default_scope'), ()))
    for path, node in walk(config.model, 'model'):
        kind = str(node.get('type')).rsplit('.', 1)[-1]
        if node.get('num_classes') is not None and heads & set(path.split('.')) and kind not in OTHER_COUNTS:
            yield f'{path}.num_classes', node['num_classes']


def check_classes(config: Config) -> None:
    """Refuse a model that predicts another number of classes, or keypoints, than the training data has.

    Raises:
        ConfigError: Naming the key.
    """
    if 'model' not in config:
        return
    check_pose(config)
    predicted = list(_predicted_classes(config))
    classes = dataset_classes(config) if predicted else None
    for key, found in predicted:
        if classes and found != len(classes):
            shown = ', '.join(classes[:5]) + (', ...' if len(classes) > 5 else '')
            raise ConfigError(
                f'{key} is {found}, but train_dataloader.dataset has {len(classes)} classes ({shown}); '
                'make both equal (classes of a custom data set go into dataset.metainfo)'
            )
