"""Checks of COCO files as MMDetection's ``CocoDataset`` and ``CocoMetric`` read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from .coco_file import CocoFile, Entry, boxes, id_notes, numbers, require
from .masks import check_masks
from .metainfo import check_names
from .sources import Source

BEYOND = 0.1
"""Part of the image's side by which a box may reach beyond the image before it looks like another box format."""
READS_MASKS = ('LoadAnnotations', 'LoadPanopticAnnotations')
AREA_ABOVE = 1.5
"""Area of an object in areas of its box from which it is wrong; boxes in whole pixels are smaller than their mask."""
AREA_BELOW = 0.01
"""Area of an object in areas of its box below which it is suspicious; lines have such masks."""
SMALL_SHARE = 0.05
"""Share of such small areas from which they are no exception."""


def check_detection(source: Source, file: CocoFile, classes: Sequence[str] | None) -> list[str]:
    """Check a file that MMDetection's ``CocoDataset`` reads.

    Args:
        source: The data set.
        file: Its annotation file.
        classes: Its class names.

    Returns:
        Remarks on annotations that are left out.

    Raises:
        ConfigError: Naming file, id and field.
    """
    if classes:
        check_names(source, classes, file.names, file.path)
    read = [
        entry for entry in file.annotations if not entry.get('ignore', False) and entry['image_id'] in file.image_of
    ]
    reader = "MMDetection's CocoDataset reads it"
    require(file.path, read, 'annotation', 'bbox', f'{reader}; add x, y, width, height')
    require(file.path, read, 'annotation', 'area', f'{reader}; add it, for example width times height of the bbox')
    _check_crowds(file.path, read)
    _check_filter(source, file)
    notes, kept = _kept(source, file, read, classes)
    masks = source.step(*READS_MASKS)
    if source.trains and masks is not None and masks.get('with_mask'):
        notes += check_masks(file, kept, f'{source.key}.pipeline has with_mask=True')
    return notes


def _check_filter(source: Source, file: CocoFile) -> None:
    """Refuse a data set of which no image is left, as ``CocoDataset.filter_data`` and ``indices`` choose them."""
    settings = source.node.get('filter_cfg') or {}
    least = settings.get('min_size', 0) if not source.node.get('test_mode') else 0
    largest = max(min(image['width'], image['height']) for image in file.images)
    if largest < least:
        raise ConfigError(
            f"{source.key}.filter_cfg.min_size is {least}, and no image of '{file.path}' has a shorter side above "
            f'{largest}, so that none is left; nearest: min_size={largest}'
        )
    if source.node.get('indices') in (0, [], ()):
        raise ConfigError(f'{source.key}.indices is {source.node["indices"]!r}, so that no image is left; remove it')


def _check_crowds(path: str, entries: Sequence[Entry]) -> None:
    """Refuse values of ``iscrowd`` that are no numbers: a text is a crowd for MMDetection, also the text '0'."""
    numbers(path, [entry for entry in entries if entry.get('iscrowd') is not None], 'annotation', 'iscrowd')


def _kept(
    source: Source, file: CocoFile, read: list[Entry], classes: Sequence[str] | None
) -> tuple[list[str], list[Entry]]:
    """Return remarks, and the annotations that the data set keeps, by its own rules."""
    path = file.path
    if not read:
        if source.trains:
            raise ConfigError(
                f"'{path}' has no annotations, so that nothing can be learnt; is it the file of a test set?"
            )
        return [], []
    box, area = boxes(path, read), numbers(path, read, 'annotation', 'area')
    images = [file.image_of[entry['image_id']] for entry in read]
    size = np.array([(image['width'], image['height']) for image in images], dtype=np.float64)
    inside = (np.minimum(box[:, :2] + box[:, 2:], size) - np.maximum(box[:, :2], 0) > 0).all(1)
    large = (box[:, 2:] >= 1).all(1)
    counted = {category['id'] for category in file.categories if classes is None or category['name'] in classes}
    known = np.array([entry['category_id'] in counted for entry in read])
    kept = inside & large & (area > 0) & known
    crowd = np.array([bool(entry.get('iscrowd')) for entry in read])
    if kept.any() and crowd[kept].all() and source.trains:
        raise ConfigError(
            f"'{path}': all {int(kept.sum())} annotations have iscrowd 1, which MMDetection ignores, so that nothing "
            'can be learnt; write 0 for single objects'
        )
    if not kept.any():
        if source.trains or known.any():
            _refuse_empty(source, file, read, box, known)
        return [f"'{path}' has no annotation of the classes"], []
    beyond = ((box[:, :2] + box[:, 2:] > size * (1 + BEYOND)) | (box[:, :2] < -BEYOND * size)).any(1)
    # The share of (x1, y1, x2, y2) boxes that leave the image when they are read as x, y, width, height is near a half
    # for objects anywhere in the image.
    corners = (box[:, 2:] > box[:, :2]).all(1) & (box[:, 2:] <= size * (1 + BEYOND / 10)).all(1)
    if beyond.mean() > 0.25 and corners.mean() > 0.99:
        first = read[int(beyond.argmax())]
        raise ConfigError(
            f"'{path}': {int(beyond.sum())} of {len(read)} boxes reach beyond their image (first: annotation "
            f'{first["id"]!r}, bbox {first["bbox"]}), and all of them fit as corners x1, y1, x2, y2; write x, y, '
            'width, height'
        )
    reasons = {
        'reach far beyond their image': beyond & inside,
        'lie outside their image and are left out': ~inside & large,
        'have a side below one pixel and are left out': ~large,
        'have no positive area and are left out': (area <= 0) & inside & large,
    }
    notes = [
        f"'{path}': {int(mask.sum())} of {len(read)} boxes {text} "
        f'(first: annotation {read[int(mask.argmax())]["id"]!r})'
        for text, mask in reasons.items()
        if mask.any()
    ]
    notes += _area_notes(path, [entry for entry, stays in zip(read, kept & ~crowd) if stays])
    notes += _class_notes(file, read, kept, known, classes)
    return notes, [entry for entry, stays in zip(read, kept) if stays]


def _area_notes(path: str, entries: Sequence[Entry]) -> list[str]:
    """Return remarks on areas that do not fit their boxes, because COCO's AP by object size depends on them."""
    if not entries:
        return []
    box, area = boxes(path, entries), numbers(path, entries, 'annotation', 'area')
    whole = box[:, 2] * box[:, 3]
    large, small = area > AREA_ABOVE * whole, area < AREA_BELOW * whole
    notes = []
    for wrong, text in ((large, 'larger than'), (small & (small.mean() > SMALL_SHARE), 'less than a hundredth of')):
        if wrong.any():
            first = entries[int(wrong.argmax())]
            notes.append(
                f"'{path}': {int(wrong.sum())} of {len(entries)} annotations have an area {text} width times height of "
                f'the bbox (first: annotation {first["id"]!r}, area {first["area"]:g}, bbox {first["bbox"]}), which '
                'makes AP of small, medium and large objects wrong'
            )
    return notes


def _refuse_empty(source: Source, file: CocoFile, read: list[Entry], box: Any, known: Any) -> None:
    scaled = (box <= 1).all()
    advice = (
        'its boxes are parts of the image, and COCO has pixels; multiply them by width and height'
        if scaled
        else 'its boxes lie outside the images, or have no area'
        if known.any()
        else 'no category is a class of metainfo'
    )
    raise ConfigError(
        f"'{file.path}': none of {len(read)} annotations counts for {source.key} (first: annotation {read[0]['id']!r}, "
        f'bbox {read[0]["bbox"]}); {advice}'
    )


def _class_notes(file: CocoFile, read: list[Entry], kept: Any, known: Any, classes: Sequence[str] | None) -> list[str]:
    notes = []
    name_of = {category['id']: category['name'] for category in file.categories}
    others = sorted({str(name_of[entry['category_id']]) for entry, counts in zip(read, known) if not counts})
    if others:
        notes.append(
            f"'{file.path}': {int((~known).sum())} annotations of {', '.join(map(repr, others[:5]))} are left out, "
            'because metainfo.classes does not name them'
        )
    used = {name_of[entry['category_id']] for entry, stays in zip(read, kept) if stays}
    unused = [name for name in (classes or file.names) if name not in used]
    if unused:
        notes.append(f"'{file.path}' has no object of {', '.join(map(repr, unused[:5]))}")
    return notes


def check_coco_metric(
    evaluator: dict[str, Any], key: str, source: Source, file: CocoFile, classes: Sequence[str] | None
) -> list[str]:
    """Check the file of MMDetection's ``CocoMetric``, whose annotations pycocotools reads.

    Args:
        evaluator: The evaluator's config.
        key: Its config key.
        source: The data set that it evaluates.
        file: The evaluator's annotation file.
        classes: Class names of the data set.

    Raises:
        ConfigError: Naming file, id and field.
    """
    if evaluator.get('format_only'):
        return []
    metric = evaluator.get('metric', 'bbox')
    metrics = [metric] if isinstance(metric, str) else list(metric)
    path, entries = file.path, file.annotations
    if not entries:
        raise ConfigError(
            f"'{path}' has no annotations, so that {key} cannot measure anything; nearest: format_only=True"
        )
    names = file.names
    if classes:
        check_names(source, classes, names, path)
    for field, advice in (
        ('iscrowd', 'add "iscrowd": 0 to each annotation'),
        ('area', 'add it, for example width times height of the bbox'),
        ('bbox', 'add x, y, width, height'),
    ):
        require(path, entries, 'annotation', field, f'{key} needs it; {advice}')
    numbers(path, entries, 'annotation', 'area')
    numbers(path, entries, 'annotation', 'iscrowd')
    box = boxes(path, entries)
    notes = id_notes(file, key)
    if 'segm' in metrics:
        notes += check_masks(file, entries, f"{key}.metric has 'segm'", evaluates=True)
    unreachable = (box[:, 2:] <= 0).any(1) & ~np.array([bool(entry['iscrowd']) for entry in entries])
    if unreachable.any():
        first = entries[int(unreachable.argmax())]
        notes.append(
            f"'{path}': {int(unreachable.sum())} boxes without an area count as missed in every evaluation (first: "
            f'annotation {first["id"]!r})'
        )
    return notes
