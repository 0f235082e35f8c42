"""Checks of keypoint metadata and COCO files as MMPose reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError, nearest
from .coco_file import CocoFile, Entry, boxes, numbers, require
from .sources import Source

KEYS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')


def check_metainfo(source: Source) -> list[str] | None:
    """Check the keypoint metadata of a data set; return the names of the keypoints, None where they are unknown.

    Raises:
        ConfigError: Naming the key, both counts or the nearest name.
    """
    metainfo = source.node.get('metainfo') or getattr(source.dataset_type, 'METAINFO', None) or {}
    if not metainfo:
        return None
    key = f'{source.key}.metainfo'
    if 'from_file' in metainfo:
        from mmpose.datasets.datasets.utils import parse_pose_metainfo

        return list(parse_pose_metainfo(dict(metainfo))['keypoint_name2id'])
    for name in KEYS:
        if name not in metainfo:
            raise ConfigError(f"{key} has no '{name}', which MMPose reads; valid: {', '.join(KEYS)}")
    infos = list(metainfo['keypoint_info'].values())
    nameless = next((info for info in infos if 'name' not in info), None)
    if nameless is not None:
        raise ConfigError(f"{key}.keypoint_info: {dict(nameless)} has no 'name'; name each keypoint")
    names = [str(info['name']) for info in infos]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise ConfigError(f"{key}.keypoint_info holds the name '{twice}' twice; name each keypoint once")
    _check_order(key, infos)
    _check_swaps(key, infos, names)
    for field in ('sigmas', 'joint_weights'):
        if len(metainfo[field]) != len(names):
            raise ConfigError(
                f'{key}.{field} has {len(metainfo[field])} entries and keypoint_info {len(names)} keypoints; give one '
                'number for each keypoint'
            )
    for number, link in metainfo['skeleton_info'].items():
        foreign = next((name for name in link.get('link', ()) if name not in names), None)
        if foreign is not None:
            raise ConfigError(f"{key}.skeleton_info.{number}.link holds '{foreign}'; {nearest(foreign, names)}")
    return names


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


def check_pose(source: Source, file: CocoFile, names: Sequence[str] | None) -> list[str]:
    """Check a file that MMPose's ``BaseCocoStyleDataset`` reads.

    Args:
        source: The data set.
        file: Its annotation file.
        names: Names of the keypoints from the metadata.

    Returns:
        Remarks.

    Raises:
        ConfigError: Naming file, id and field.
    """
    path = file.path
    text = next((image for image in file.images if isinstance(image['id'], str)), None)
    if text is not None:
        raise ConfigError(f"'{path}': image has the id {text['id']!r}, a text, and MMPose needs whole numbers")
    entries = [entry for entry in file.annotations if 'bbox' in entry and 'keypoints' in entry]
    boxes(path, entries)
    if 'area' in (entries[0] if entries else ()):
        numbers(path, [entry for entry in entries if 'area' in entry], 'annotation', 'area')
    if names:
        _check_keypoints(path, entries, names, source.key)
        _check_category(file, names, source.key)
    seen = [entry for entry in entries if not entry.get('iscrowd') and entry.get('num_keypoints', 1)]
    if source.trains and not seen:
        raise ConfigError(
            f"'{path}' has no annotation with a bbox and visible keypoints, so that nothing can be learnt; is it a "
            'file of keypoints?'
        )
    return []


def _check_keypoints(path: str, entries: Sequence[Entry], names: Sequence[str], key: str) -> None:
    wanted = 3 * len(names)
    for entry in entries:
        points = entry['keypoints']
        if not isinstance(points, list) or len(points) != wanted:
            size = len(points) if isinstance(points, list) else 0
            raise ConfigError(
                f"'{path}': annotation {entry['id']!r} has {size} numbers in keypoints ({size / 3:g} keypoints), and "
                f'{key}.metainfo has {len(names)} keypoints; write x, y, visibility of each, {wanted} numbers'
            )
        if not all(isinstance(value, (int, float)) and value == value for value in points):
            raise ConfigError(f"'{path}': annotation {entry['id']!r} has keypoints that are no numbers; write 0, 0, 0")


def _check_category(file: CocoFile, names: Sequence[str], key: str) -> None:
    for category in file.categories:
        listed = category.get('keypoints')
        if isinstance(listed, list) and listed != list(names) and sorted(map(str, listed)) == sorted(names):
            first = next(at for at, name in enumerate(names) if listed[at] != name)
            raise ConfigError(
                f"'{file.path}': keypoint {first} of category '{category['name']}' is '{listed[first]}', and "
                f"{key}.metainfo.keypoint_info names '{names[first]}' there; use the order of the file"
            )


def check_pose_metric(evaluator: dict[str, Any], key: str, file: CocoFile) -> None:
    """Check the file of MMPose's ``CocoMetric``, whose annotations xtcocotools reads.

    Args:
        evaluator: The evaluator's config.
        key: Its config key.
        file: The evaluator's annotation file.

    Raises:
        ConfigError: Naming file, id and field.
    """
    if evaluator.get('format_only') or evaluator.get('iou_type', 'keypoints') != 'keypoints':
        return
    if not file.annotations:
        raise ConfigError(f"'{file.path}' has no annotations, so that {key} cannot measure anything")
    fields = {'bbox': 'add x, y, width, height', 'keypoints': 'add x, y, visibility of each'}
    fields['num_keypoints'] = 'add the number of visible keypoints'
    if evaluator.get('use_area', True):
        fields['area'] = f'add it, or set {key}.use_area=False'
    for field, advice in fields.items():
        require(file.path, file.annotations, 'annotation', field, f'{key} needs it; {advice}')
