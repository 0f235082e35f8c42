"""Checks of data paths and class counts in a config before a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import ConfigError, nearest
from .gpu_only import needs_gpu
from .loading import class_name, walk
from .numbers import check_numbers
from .pose_checks import check_pose

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
HEADS = {
    'mmdet': ('bbox_head', 'mask_head'),
    'mmseg': ('decode_head', 'auxiliary_head'),
    'mmdet3d': ('bbox_head',),
}
"""Scope to the config keys of the heads whose ``num_classes`` must equal that of the data."""
OTHER_COUNTS = ('GroundingDINOHead', 'STDCHead', 'SideAdapterCLIPHead', 'PointRCNNBboxHead')
"""Heads whose ``num_classes`` counts something else: text tokens, boundaries, foreground classes, one foreground."""
OLD_KEYS = ('optimizer', 'runner', 'optimizer_config', 'lr_config')
"""Keys of a training in MMDetection 2 and the other packages of that time."""
DATA_COMMANDS = {
    'BCCD_ROOT': 'kd_plugins data bccd fetches it',
    'DIGITS_ROOT': 'kd_plugins data digits makes it',
    'HIPPOCAMPUS_ROOT': 'kd_plugins data hippocampus fetches it',
    'HIPPOCAMPUS_SLICES_ROOT': 'kd_plugins data hippocampus-slices makes it',
    'ISBI_ROOT': 'kd_plugins data isbi fetches it',
    'LIDAR_SCENES_ROOT': 'kd_plugins data lidar-scenes makes it',
    'LSPET_ROOT': 'kd_plugins data lspet fetches it',
}
"""Environment variable of a shipped config's data root to the command that puts the data into the default folder."""


def validates(config: Config) -> bool:
    """Return whether a training validates; in MMPose's configs, an empty dict switches validation on.

    >>> validates(Config({'val_cfg': {}})), validates(Config({'val_cfg': None}))
    (True, False)
    """
    return config.get('val_cfg') is not None


def training_loaders(config: Config) -> tuple[str, ...]:
    """Return the config keys of the data loaders that a training uses.

    >>> training_loaders(Config({'val_cfg': None}))
    ('train_dataloader',)
    """
    return ('train_dataloader', 'val_dataloader') if validates(config) else ('train_dataloader',)


def check_trainable(config: Config, path: str) -> None:
    """Refuse an incomplete config, a chain of stages, and a model that needs a GPU on a machine without one.

    Args:
        config: The resolved config.
        path: Its path, for error sentences.

    Raises:
        ConfigError: Naming the first missing key, a text where a number belongs, or the part of the model that needs a
            GPU.
    """
    if config.get('stages') and not config.get('model'):
        raise ConfigError(f"config: '{path}' lists stages, each a training; kd_plugins train-stages trains them")
    for key in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        old = next((name for name in OLD_KEYS if config.get(name)), None)
        if not config.get(key) and key != 'model' and old is not None:
            raise ConfigError(
                f"config: '{path}' has no '{key}' but '{old}', a key of OpenMMLab's packages before MMEngine; give it "
                'train_dataloader, train_cfg and optim_wrapper, or inherit a config of the installed version'
            )
        if not config.get(key):
            raise ConfigError(f"config: '{path}' has no '{key}', so it cannot be trained; inherit one that has")
    check_numbers(config)
    reason = needs_gpu(config)
    if reason:
        raise ConfigError(f'{reason}; train on a machine with one')


def datasets_of(config: Config, loaders: tuple[str, ...] = LOADERS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the config key and the entry of every data set that reads files, also inside wrappers."""
    for loader in loaders:
        entry = config.get(loader)
        dataset = entry.get('dataset') if isinstance(entry, dict) else None  # a runner may be given a loader
        for path, node in walk(dataset, f'{loader}.dataset'):
            if 'type' in node and ('data_root' in node or 'ann_file' in node) and 'pipeline' not in path.split('.'):
                yield path, node


def _is_local(node: dict[str, Any], path: str) -> bool:
    remote = (node.get('backend_args') or {}).get('backend', 'local') != 'local'
    return not remote and '://' not in path


def _missing(key: str, path: Path, config: Config) -> ConfigError:
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    missing_name = path.relative_to(folder).parts[0] if path.is_relative_to(folder) else path.name
    names = sorted(entry.name for entry in folder.iterdir())[:200]
    # The config or one of its bases reads an environment variable as `{{$NAME:default}}`.
    variables = dict.fromkeys(re.findall(r'\{\{\s*\$(\w+)\s*:', config.text or ''))
    roots = [name for name in variables if name.endswith('_ROOT')]
    commands = [DATA_COMMANDS[name] for name in roots if name in DATA_COMMANDS]
    change = f'the environment variable {" or ".join(roots or variables)}, or ' if variables else ''
    advice = nearest(missing_name, names)
    parts = [f"{key}: '{path}' does not exist", *commands, f'set it with {change}--cfg-options {key}=...']
    if advice.startswith('nearest'):
        parts.insert(1, f"{advice} in '{folder}'")
    return ConfigError('; '.join(parts))


def check_data(config: Config, loaders: tuple[str, ...] = LOADERS) -> None:
    """Refuse data roots, annotation files and image folders that do not exist.

    Args:
        config: The resolved config.
        loaders: Config keys of the data loaders that the run uses.

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
            # Without a slash at its end, a prefix may be the beginning of file names.
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
            # MMPose's MultiDatasetEvaluator lists data sets, whose files are below their data_root.
            path = Path(str(node.get('data_root') or ''), str(annotations))
            if isinstance(annotations, str) and _is_local(node, annotations) and not path.exists():
                raise _missing(f'{name}.ann_file', path, config)


def needs_generated(configs: Iterable[Config], asked: bool) -> bool:
    """Return whether to use generated data: because the user asks for it, or because training data is missing.

    The missing path is printed.

    Args:
        configs: The resolved configs.
        asked: Value of ``--generated``.
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


def read_class_names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """Return class names as MMEngine reads ``metainfo.classes``: a list, or the name of a file with one name a line.

    A text that names no file is returned as the only name.
    """
    if isinstance(classes, str):
        return tuple(Path(classes).read_text(encoding='utf-8').splitlines()) if Path(classes).is_file() else (classes,)
    return tuple(classes)


def dataset_classes(config: Config, loader: str = 'train_dataloader') -> tuple[str, ...] | None:
    """Return the class names of a loader's data, from the config's ``metainfo`` or else from the dataset's type.

    For a panoptic data set, return its thing classes, because detection heads predict these.

    Args:
        config: The resolved config.
        loader: Config key of the data loader.
    """
    scope = config.get('default_scope') or 'mmengine'
    for _, node in datasets_of(config, (loader,)):
        metainfo = node.get('metainfo')
        if isinstance(metainfo, dict) and metainfo.get('classes'):
            return read_class_names(metainfo['classes'])
        dataset_type = node['type']
        if isinstance(dataset_type, str):
            dataset_type = DATASETS.get(dataset_type) or DATASETS.get(f'{scope}.{dataset_type}')
        defaults = getattr(dataset_type, 'METAINFO', None) or {}
        return tuple(defaults.get('thing_classes') or defaults.get('classes') or ()) or None
    return None


def _predicted_classes(config: Config) -> Iterator[tuple[str, int]]:
    """Yield the config key and the number of classes of every part of the model that predicts classes."""
    if class_name(config.model) == 'VolumetricSegmentor':
        channels = (config.model.get('network') or {}).get('out_channels')
        if channels is not None:
            yield 'model.network.out_channels', channels
        return
    heads = set(HEADS.get(config.get('default_scope'), ()))
    for path, node in walk(config.model, 'model'):
        counted = class_name(node) not in OTHER_COUNTS
        if node.get('num_classes') is not None and heads & set(path.split('.')) and counted:
            yield f'{path}.num_classes', node['num_classes']


def _is_binary(config: Config, key: str, count: int, classes: int) -> bool:
    """Return whether one sigmoid output of an MMSegmentation head tells two classes apart."""
    if count != 1 or classes != 2 or config.get('default_scope') != 'mmseg':
        return False
    return any(key == f'{path}.num_classes' and 'loss_decode' in node for path, node in walk(config.model, 'model'))


def check_classes(config: Config, loaders: tuple[str, ...] = ('train_dataloader',)) -> None:
    """Refuse a model whose number of classes or keypoints differs from that of its data.

    Args:
        config: The resolved config.
        loaders: Config keys of the data loaders that the run uses.

    Raises:
        ConfigError: Naming the key.
    """
    if not config.get('model'):
        return
    check_pose(config)
    predicted = list(_predicted_classes(config))
    for loader in loaders if predicted else ():
        classes = dataset_classes(config, loader)
        for key, count in predicted:
            if classes and count != len(classes) and not _is_binary(config, key, count, len(classes)):
                shown = ', '.join(classes[:5]) + (', ...' if len(classes) > 5 else '')
                raise ConfigError(
                    f'{key} is {count}, but {loader}.dataset has {len(classes)} classes ({shown}); '
                    'make both equal (classes of a custom data set go into dataset.metainfo)'
                )
