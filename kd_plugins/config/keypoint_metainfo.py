"""Checks of MMPose's keypoint metadata: ``metainfo`` of a pose data set."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError, nearest

KEYS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')


def keypoint_names(metainfo: Mapping[str, Any], key: str) -> list[str]:
    """Check keypoint metadata; return the names of the keypoints.

    Args:
        metainfo: The metadata, or ``dict(from_file=...)``.
        key: Its config key.

    Raises:
        ConfigError: Naming the key, both counts or the nearest name.
    """
    if 'from_file' in metainfo:
        metainfo, key = _read(str(metainfo['from_file']), f'{key}.from_file')
    for name in KEYS:
        if name not in metainfo:
            raise ConfigError(f"{key} has no '{name}', which MMPose reads; valid: {', '.join(KEYS)}")
    for name in ('keypoint_info', 'skeleton_info'):
        entries = metainfo[name]
        if not isinstance(entries, Mapping) or not all(isinstance(entry, Mapping) for entry in entries.values()):
            raise ConfigError(f'{key}.{name} is {str(entries)[:40]}; give a dict of number to dict')
    infos = list(metainfo['keypoint_info'].values())
    if not infos:
        raise ConfigError(f'{key}.keypoint_info is empty; describe each keypoint, for example 0: dict(name=..., id=0)')
    nameless = next((info for info in infos if 'name' not in info), None)
    if nameless is not None:
        raise ConfigError(f"{key}.keypoint_info: {dict(nameless)} has no 'name'; name each keypoint")
    names = [str(info['name']) for info in infos]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise ConfigError(f"{key}.keypoint_info holds the name '{twice}' twice; name each keypoint once")
    _check_order(key, infos)
    _check_swaps(key, infos, names)
    _check_numbers(key, metainfo, len(names))
    for number, link in metainfo['skeleton_info'].items():
        ends = link.get('link')
        if not isinstance(ends, (list, tuple)) or len(ends) != 2:
            raise ConfigError(f'{key}.skeleton_info.{number}.link is {ends!r}; give the names of two keypoints')
        foreign = next((name for name in ends if name not in names), None)
        if foreign is not None:
            raise ConfigError(f"{key}.skeleton_info.{number}.link holds '{foreign}'; {nearest(foreign, names)}")
    return names


def _read(path: str, key: str) -> tuple[Mapping[str, Any], str]:
    """Return ``dataset_info`` of the file, which MMPose also searches among its own configs, and its key."""
    file = Path(path)
    if not file.is_file():
        import mmpose

        own = Path(mmpose.__file__).parent / '.mim' / 'configs' / '_base_' / 'datasets'
        file = own / file.name
        if not file.is_file():
            names = sorted(one.name for one in own.glob('*.py'))
            raise ConfigError(f"{key}: '{path}' does not exist; {nearest(Path(path).name, names, 1)} of MMPose")
    content = Config.fromfile(str(file))
    if not isinstance(content.get('dataset_info'), Mapping):
        raise ConfigError(f"{key}: '{file}' has no dataset_info; its keys are {', '.join(list(content)[:6])}")
    return content['dataset_info'], key


def _check_numbers(key: str, metainfo: Mapping[str, Any], count: int) -> None:
    for field in ('sigmas', 'joint_weights'):
        values = list(metainfo[field])
        if len(values) != count:
            raise ConfigError(
                f'{key}.{field} has {len(values)} entries and keypoint_info {count} keypoints; give one number for '
                'each keypoint'
            )
        # OKS divides by the sigmas.
        least = 0.0 if field == 'joint_weights' else sys.float_info.min
        wrong = [value for value in values if not (isinstance(value, (int, float)) and least <= value < math.inf)]
        if wrong:
            bound = 'above 0' if field == 'sigmas' else 'from 0 on'
            raise ConfigError(f'{key}.{field} holds {wrong[0]!r}; give numbers {bound}')


def _check_order(key: str, infos: Sequence[Mapping[str, Any]]) -> None:
    ids = [info.get('id') for info in infos]
    if ids != list(range(len(ids))):
        raise ConfigError(
            f"{key}.keypoint_info has the ids {str(ids)[:60]}; they must be 0 to {len(ids) - 1} in the file's order"
        )


def _check_swaps(key: str, infos: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    partner_of = {str(info['name']): str(info.get('swap') or '') for info in infos}
    for name, partner in partner_of.items():
        if partner and partner not in names:
            raise ConfigError(
                f"{key}.keypoint_info: swap of '{name}' is '{partner}', which is no keypoint; {nearest(partner, names)}"
            )
        if partner and partner_of[partner] != name:
            raise ConfigError(
                f"{key}.keypoint_info: swap of '{name}' is '{partner}', and swap of '{partner}' is "
                f"'{partner_of[partner]}'; both must name each other, nearest: '{name}'"
            )
