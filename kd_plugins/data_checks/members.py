"""Checks of the members of concatenated data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ..config.loading import walk
from ..errors import ConfigError
from .metainfo import class_names, shown
from .sources import resolve_type, sources_of

COMPARED = ('classes', 'palette')
"""Keys of ``metainfo`` that a config usually changes."""


def check_members(config: Config, loaders: tuple[str, ...]) -> None:
    """Refuse concatenated data sets whose members do not fit together.

    Args:
        config: The resolved config.
        loaders: Config keys of the data loaders that the run uses.

    Raises:
        ConfigError: Naming both members and what differs.
    """
    _check_labels(config, loaders)
    for loader in loaders:
        dataset = (config.get(loader) or {}).get('dataset')
        for path, node in walk(dataset, f'{loader}.dataset'):
            kind = resolve_type(node.get('type'), config.get('default_scope') or 'mmengine')
            if getattr(kind, '__name__', '') == 'ConcatDataset' and kind.__module__.startswith('mmengine.'):
                _check_equal(path, node, config.get('default_scope') or 'mmengine')


def _check_labels(config: Config, loaders: tuple[str, ...]) -> None:
    """Refuse members of MMDetection's ``ConcatDataset`` that number different classes with the same labels.

    Members that hand their class names to the model, as for grounding, may differ.
    """
    first: dict[str, tuple[str, tuple[str, ...]]] = {}
    for source in sources_of(config, loaders):
        whole, member, _ = source.key.rpartition('.datasets.')
        is_coco = source.inherits('mmdet.', 'CocoDataset', 'load_data_list', 'parse_data_info')
        names = class_names(source) if member and is_coco and not source.node.get('return_classes') else None
        if not names:
            continue
        key, other = first.setdefault(whole, (source.key, names))
        if names != other:
            raise ConfigError(
                f'{source.key} has the classes ({shown(names)}) and {key} ({shown(other)}), which get the same labels '
                'from 0; give all members the same metainfo.classes'
            )


def _check_equal(path: str, node: Mapping[str, Any], scope: str) -> None:
    """Refuse members for which MMEngine's ``ConcatDataset`` would stop, since their metainfo is not equal."""
    ignored = node.get('ignore_keys') or ()
    members = [member for member in node.get('datasets') or () if isinstance(member, Mapping)]
    values = [_metainfo(member, scope) for member in members]
    for key in COMPARED if len(members) > 1 else ():
        if key in ([ignored] if isinstance(ignored, str) else ignored):
            continue
        for index, value in enumerate(values):
            if value.get(key) != values[0].get(key):
                raise ConfigError(
                    f'{path}.datasets.{index}.metainfo.{key} differs from that of {path}.datasets.0, and '
                    f"MMEngine's ConcatDataset needs both to be equal; nearest: the same {key}, or "
                    f"ignore_keys=['{key}']"
                )


def _metainfo(member: Mapping[str, Any], scope: str) -> dict[str, Any]:
    while isinstance(member.get('dataset'), Mapping):
        member = member['dataset']
    return {
        **(getattr(resolve_type(member.get('type'), scope), 'METAINFO', None) or {}),
        **(member.get('metainfo') or {}),
    }
