"""Checks of KITTI's folders and of MMDetection3D's info files."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..config.loading import class_name, walk
from ..datasets.kitti_infos import CATEGORIES, frame_files, frame_names, label_rows, png_size, read_calibration
from ..errors import ConfigError, nearest
from .clouds import check_clouds
from .context import Context
from .metainfo import class_names, shown
from .sources import Source

LARGEST = 200_000_000
"""Bytes of an info file beyond which it is not read, since that takes more than a few seconds."""
UNCOUNTED = (*CATEGORIES, 'DontCare')
"""Names of KITTI that need no remark where they are no class."""


class Object(NamedTuple):
    """One annotated box.

    Attributes:
        where: File and place of the annotation.
        name: Class name; empty where the label has none.
        size: Its three sides.
        centre: Centre in the frame of the LiDAR; None where it is unknown.
    """

    where: str
    name: str
    size: Sequence[float]
    centre: np.ndarray | None


def kitti(context: Context, source: Source) -> Iterator[str]:
    """Check a data set of KITTI's folders; yield remarks."""
    root = Path(str(source.node.get('data_root') or ''))
    names = frame_names(root, source.ann_file if source.node.get('ann_file') else '')
    labelled = (root / 'label_2').is_dir() or not source.node.get('test_mode')
    folder = Path(source.folder('pts')) if (source.node.get('data_prefix') or {}).get('pts') else root / 'velodyne'
    paths = [str(folder / f'{name}.bin') for name in names]
    context.images.setdefault(source.loader, set()).update(paths)
    objects: list[Object] = []
    for name in names:
        files = frame_files(root, name, labelled)
        to_camera, _ = read_calibration(files[1])
        png_size(root / 'image_2' / f'{name}.png')
        if labelled:
            objects += _kitti_objects(files[2], np.linalg.inv(to_camera))
    classes = class_names(source) or CATEGORIES
    if labelled:
        yield from _objects(context, source, objects, classes, f"'{root / 'label_2'}'")
    if context.is_new((tuple(paths), str(source.steps))):
        yield from check_clouds(source, paths)


def _kitti_objects(path: Path, to_lidar: np.ndarray) -> Iterator[Object]:
    for number, name, values in label_rows(path):
        yield Object(f"'{path}' line {number}", name, values[7:10], (to_lidar @ [*values[10:13], 1.0])[:3])


def infos(context: Context, source: Source) -> Iterator[str]:
    """Check a data set that reads an info file of MMDetection3D; yield remarks."""
    path = source.ann_file
    if not path.endswith(('.pkl', '.json')) or not os.path.isfile(path):
        return
    if os.path.getsize(path) > LARGEST:
        yield f"'{path}' has {os.path.getsize(path) // 10**6} MB and was not read"
        return
    content = _read_infos(path)
    known = list((getattr(source.dataset_type, 'METAINFO', None) or {}).get('classes') or ())
    classes = class_names(source) or tuple(known)
    foreign = next((name for name in classes if name not in known), None)
    if foreign is not None:
        raise ConfigError(
            f"{source.key}.metainfo.classes holds '{foreign}', and {source.dataset_type.__name__} knows {len(known)} "
            f"classes; {nearest(foreign, known)}; type='kd_plugins.KittiFolder' takes classes of your own"
        )
    _check_categories(path, content['metainfo'].get('categories') or {}, known)
    entries = content['data_list']
    if source.trains or _evaluates(context, source):
        sides = 7 if source.inherits('mmdet3d.', 'KittiDataset') else 6
        objects = [item for at, entry in enumerate(entries) for item in _info_objects(path, at, entry, known, sides)]
        yield from _objects(context, source, objects, classes, f"'{path}'")
    if not source.trains:
        _check_evaluator(context, source, entries)
    # Without a folder in the config, the default of the data set's type counts, which is not read here.
    if not (source.node.get('data_prefix') or {}).get('pts') or not _uses_lidar(source):
        return
    names = [str(_field(path, at, entry, 'lidar_points', 'lidar_path')) for at, entry in enumerate(entries)]
    paths = [os.path.join(source.folder('pts'), name) for name in names]
    context.images.setdefault(source.loader, set()).update(paths)
    if context.is_new((tuple(paths), str(source.steps))):
        yield from check_clouds(source, paths)


def _check_evaluator(context: Context, source: Source, entries: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an evaluator whose info file lists other frames, since it compares item by item."""
    evaluator = source.loader.replace('_dataloader', '_evaluator')
    for key, node in walk(context.config.get(evaluator), evaluator):
        path = node.get('ann_file')
        is_metric = class_name(node) in ('KittiMetric', 'LidarAPMetric')
        if not is_metric or not path or not os.path.isfile(path) or os.path.samefile(path, source.ann_file):
            continue
        others = _read_infos(path)['data_list']
        clouds = [[_cloud_name(entry) for entry in listed] for listed in (entries, others)]
        if clouds[0] != clouds[1]:
            at = next((index for index, pair in enumerate(zip(*clouds)) if pair[0] != pair[1]), len(clouds[1]))
            raise ConfigError(
                f"{key}.ann_file: '{path}' has {len(others)} frames and {source.key}.ann_file '{source.ann_file}' "
                f"{len(entries)}, which differ from frame {at} on; nearest: {key}.ann_file='{source.ann_file}'"
            )


def _cloud_name(entry: Mapping[str, Any]) -> str:
    return os.path.basename(str((entry.get('lidar_points') or {}).get('lidar_path')))


def _uses_lidar(source: Source) -> bool:
    return bool((source.node.get('modality') or {'use_lidar': True}).get('use_lidar', False))


def _read_infos(path: str) -> dict[str, Any]:
    from mmengine.fileio import load

    advice = "write it again with MMDetection3D's tools/create_data.py"
    try:
        content = load(path)
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, ImportError) as error:
        raise ConfigError(f"'{path}' is not a readable info file ({error}); {advice}") from error
    if isinstance(content, list):
        raise ConfigError(
            f"'{path}' holds a list, the format before MMDetection3D 1.1; {advice}, or convert it with "
            'tools/dataset_converters/update_infos_to_v2.py'
        )
    if not isinstance(content, dict) or not {'metainfo', 'data_list'} <= set(content):
        keys = shown(list(map(str, content))) if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"'{path}' has no metainfo and data_list ({keys}); {advice}")
    if not content['data_list']:
        raise ConfigError(f"'{path}' has no entries in data_list; {advice}")
    return content


def _field(path: str, at: int, entry: Mapping[str, Any], *names: str) -> Any:
    value: Any = entry
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            raise ConfigError(f"'{path}': entry {at} of data_list has no {'.'.join(names)}; write the info file again")
        value = value[name]
    return value


def _check_categories(path: str, categories: Mapping[str, int], known: Sequence[str]) -> None:
    """Refuse labels that the file numbers in another order than the data set's type."""
    for name, label in categories.items():
        if name in known and label >= 0 and known.index(name) != label:
            raise ConfigError(
                f"'{path}': metainfo.categories gives '{name}' the label {label}, and the data set's type "
                f'{known.index(name)}; write the info file with the order ({shown(known)})'
            )


def _info_objects(path: str, at: int, entry: Mapping[str, Any], known: Sequence[str], sides: int) -> Iterator[Object]:
    for number, instance in enumerate(_field(path, at, entry, 'instances')):
        where = f"'{path}': entry {at}, instance {number}"
        label, box = instance.get('bbox_label_3d'), instance.get('bbox_3d')
        if label is None or box is None or len(box) < sides:
            raise ConfigError(f'{where} has no bbox_label_3d and bbox_3d of {sides} numbers; write the info file again')
        if not -1 <= label < len(known):
            raise ConfigError(
                f"{where} has the label {label}, and the data set's type has {len(known)} classes: -1 to "
                f'{len(known) - 1}'
            )
        yield Object(where, known[label] if label >= 0 else '', box[3:6], None)


def _evaluates(context: Context, source: Source) -> bool:
    key = source.loader.replace('_dataloader', '_evaluator')
    return any('type' in node and not node.get('format_only') for _, node in walk(context.config.get(key), key))


def _objects(
    context: Context, source: Source, objects: Sequence[Object], classes: Sequence[str], where: str
) -> Iterator[str]:
    """Refuse a data set without usable objects; yield remarks on names that are no class."""
    if not source.trains and not _evaluates(context, source):
        return
    counted = [item for item in objects if item.name in classes]
    names = Counter(item.name for item in objects if item.name not in classes)
    if not counted:
        listed = ', '.join(f'{count} {name or "ignored"}' for name, count in names.most_common(8)) or 'nothing'
        others = [name for name in names if name not in UNCOUNTED]
        advice = nearest(others[0], classes) if others else 'annotate objects of the classes'
        raise ConfigError(
            f'{source.key}.metainfo.classes is ({shown(classes)}), and {where} holds no object of them, but {listed}; '
            f'{advice}'
        )
    flat = next((item for item in counted if not all(np.isfinite(side) and side > 0 for side in item.size)), None)
    if flat is not None:
        raise ConfigError(
            f'{flat.where}: {flat.name} has the size {[round(float(side), 3) for side in flat.size]}; every side must '
            'be positive'
        )
    if source.trains:
        _check_range(source, counted)
    strange = {name: count for name, count in names.items() if name and name not in UNCOUNTED}
    if strange:
        first = next(iter(strange))
        listed = ', '.join(f'{count} {name}' for name, count in list(strange.items())[:8])
        yield (
            f"{where}: objects of names that are no class are left out: {listed}; for '{first}' "
            f'{nearest(first, classes)}'
        )
    unused = [name for name in classes if all(item.name != name for item in counted)]
    if unused:
        yield f'{where} has no object of {shown(unused)} for {source.loader}'


def _check_range(source: Source, objects: Sequence[Object]) -> None:
    step = source.step('ObjectRangeFilter')
    limits = step.get('point_cloud_range') if step else None
    centres = [item.centre for item in objects]
    if not limits or any(centre is None for centre in centres):
        return
    rows = np.array(centres)
    inside = ((rows[:, :2] > limits[:2]) & (rows[:, :2] < limits[3:5])).all(axis=1)
    if not inside.any():
        raise ConfigError(
            f'{objects[0].where}: {objects[0].name} lies at {rows[0].round(2).tolist()} in the frame of the LiDAR, and '
            f'none of {len(objects)} objects is in the point_cloud_range {list(limits)} of {source.key}; compare '
            'range, calib and location'
        )


__all__ = ['infos', 'kitti']
