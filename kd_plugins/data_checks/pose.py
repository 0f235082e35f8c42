"""Checks of keypoint metadata and COCO files as MMPose reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..config.keypoint_metainfo import keypoint_names
from ..errors import ConfigError
from .coco_file import CocoFile, Entry, boxes, id_notes, numbers, read_json, require
from .sources import Source


def check_metainfo(source: Source) -> list[str] | None:
    """Check the keypoint metadata of a data set; return the names of the keypoints, None where they are unknown.

    Raises:
        ConfigError: Naming the key, both counts or the nearest name.
    """
    metainfo = source.node.get('metainfo') or getattr(source.dataset_type, 'METAINFO', None) or {}
    return keypoint_names(metainfo, f'{source.key}.metainfo') if metainfo else None


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
    notes = []
    if names:
        _check_keypoints(path, entries, names, source.key)
        _check_category(file, names, source.key)
        notes = _count_notes(path, entries)
    if source.node.get('bbox_file'):
        notes += check_detections(source, file)
    # As MMPose's `_is_valid_instance`.
    seen = [
        entry
        for entry in entries
        if not entry.get('iscrowd') and entry.get('num_keypoints', 1) and max(entry['bbox'][2:]) > 0
    ]
    if source.trains and not seen:
        raise ConfigError(
            f"'{path}' has no annotation with a bbox and visible keypoints, so that nothing can be learnt; is it a "
            'file of keypoints?'
        )
    return notes


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
        strange = next((value for value in points[2::3] if not 0 <= value <= 2), None)
        if strange is not None:
            raise ConfigError(
                f"'{path}': annotation {entry['id']!r} has the visibility {strange!r} in keypoints; valid: 0 (not "
                'annotated), 1 (hidden), 2 (visible)'
            )


def _count_notes(path: str, entries: Sequence[Entry]) -> list[str]:
    """Return a remark on ``num_keypoints`` of 0 at visible keypoints, whose object neither trains nor counts."""
    lost = [entry for entry in entries if entry.get('num_keypoints') == 0 and any(entry['keypoints'][2::3])]
    if not lost:
        return []
    return [
        f"'{path}': {len(lost)} annotations have num_keypoints 0 and visible keypoints (first: annotation "
        f'{lost[0]["id"]!r}), so that they are neither trained on nor evaluated'
    ]


def check_detections(source: Source, file: CocoFile) -> list[str]:
    """Check the file of detected boxes that a top-down data set reads instead of annotated ones.

    Args:
        source: The data set.
        file: Its annotation file.

    Returns:
        A remark on images without a detection.

    Raises:
        ConfigError: Naming the file and the first entry that MMPose cannot read.
    """
    path, key = source.joined(str(source.node['bbox_file'])), f'{source.key}.bbox_file'
    if not os.path.isfile(path):
        raise ConfigError(f"{key}: '{path}' does not exist; leave bbox_file out to use the boxes of '{file.path}'")
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ConfigError(f"{key}: '{path}' is not a list of detections [dict(image_id=..., category_id=..., ...)]")
    for field in ('image_id', 'category_id', 'bbox', 'score'):
        require(path, content, 'detection', field, f'MMPose reads it from {key}')
    boxes(path, content)
    persons = [entry for entry in content if entry['category_id'] == 1]
    if not persons:
        raise ConfigError(f"{key}: '{path}' has no detection of category_id 1, the only one that MMPose takes")
    foreign = next((entry for entry in persons if entry['image_id'] not in file.image_of), None)
    if foreign is not None:
        raise ConfigError(
            f"{key}: '{path}' has a detection in image {foreign['image_id']!r}, which '{file.path}' does not list; "
            'give the detections of the same images'
        )
    covered = {entry['image_id'] for entry in persons}
    if len(covered) < len(file.images):
        return [f"'{path}' has no detection in {len(file.images) - len(covered)} of {len(file.images)} images"]
    return []


def _check_category(file: CocoFile, names: Sequence[str], key: str) -> None:
    for category in file.categories:
        listed = category.get('keypoints')
        if isinstance(listed, list) and listed != list(names) and sorted(map(str, listed)) == sorted(names):
            first = next(at for at, name in enumerate(names) if listed[at] != name)
            raise ConfigError(
                f"'{file.path}': keypoint {first} of category '{category['name']}' is '{listed[first]}', and "
                f"{key}.metainfo.keypoint_info names '{names[first]}' there; use the order of the file"
            )


def check_pose_metric(evaluator: dict[str, Any], key: str, file: CocoFile) -> list[str]:
    """Check the file of MMPose's ``CocoMetric``, whose annotations xtcocotools reads.

    Args:
        evaluator: The evaluator's config.
        key: Its config key.
        file: The evaluator's annotation file.

    Returns:
        A remark on the id 0.

    Raises:
        ConfigError: Naming file, id and field.
    """
    if evaluator.get('format_only') or evaluator.get('iou_type', 'keypoints') != 'keypoints':
        return []
    if not file.annotations:
        raise ConfigError(f"'{file.path}' has no annotations, so that {key} cannot measure anything")
    fields = {'bbox': 'add x, y, width, height', 'keypoints': 'add x, y, visibility of each'}
    fields['num_keypoints'] = 'add the number of visible keypoints'
    if evaluator.get('use_area', True):
        fields['area'] = f'add it, or set {key}.use_area=False'
    for field, advice in fields.items():
        require(file.path, file.annotations, 'annotation', field, f'{key} needs it; {advice}')
    if not evaluator.get('ann_file'):
        # MMPose then writes the file itself from the loaded annotations.
        require(file.path, file.annotations, 'annotation', 'iscrowd', f'{key} needs it; add 0 to each annotation')
    numbers(file.path, file.annotations, 'annotation', 'num_keypoints')
    return id_notes(file, key)
