"""Checks of the instance masks of COCO files: polygons and run lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .coco_file import CocoFile, Entry, boxes, require

VALID = 'polygons [[x, y, x, y, x, y, ...]] of at least three points, or run lengths with counts and size'
POINTS = 6
"""Numbers of the smallest polygon, a triangle."""


def check_masks(file: CocoFile, entries: Sequence[Entry], reason: str, evaluates: bool = False) -> list[str]:
    """Refuse annotations without a mask, and masks that readers fail over.

    Args:
        file: The annotation file.
        entries: Annotations whose masks are read.
        reason: Setting that needs the masks.
        evaluates: Whether pycocotools reads them, which fails over polygons that MMDetection leaves out.

    Returns:
        Remarks on polygons that are left out, and masks that do not lie where their box is.

    Raises:
        ConfigError: Naming the first annotation.
    """
    path = file.path
    require(path, entries, 'annotation', 'segmentation', f'{reason}; add masks, or use a model of boxes')
    partial, outlined, polygons = [], [], []
    for entry in entries:
        mask, where = entry['segmentation'], f"'{path}': annotation {entry['id']!r}"
        if not mask:
            raise ConfigError(f'{where} has an empty segmentation; {reason}; add a polygon')
        if isinstance(mask, dict):
            _check_runs(mask, file.image_of.get(entry['image_id']), where)
            continue
        listed = isinstance(mask, list) and all(isinstance(polygon, list) for polygon in mask)
        kept = [polygon for polygon in mask if len(polygon) >= POINTS and len(polygon) % 2 == 0] if listed else []
        if not kept or (evaluates and len(mask[0]) < POINTS):
            raise ConfigError(f'{where} has the segmentation {str(mask)[:40]}; valid: {VALID}')
        if not all(map(_is_finite, mask)):
            raise ConfigError(f'{where} has a polygon with values that are not finite numbers; write x, y pairs')
        if len(kept) < len(mask):
            partial.append(entry)
        outlined.append(entry)
        polygons.append(kept)
    away = [entry for entry, touches in zip(outlined, _touch(polygons, boxes(path, outlined))) if not touches]
    if len(away) > len(entries) / 2:
        first = away[0]
        raise ConfigError(
            f"'{path}': {len(away)} of {len(entries)} masks do not overlap their bbox (first: annotation "
            f'{first["id"]!r}, bbox {first["bbox"]}, segmentation {str(first["segmentation"])[:40]}); write polygons '
            'in pixels, as x, y pairs'
        )
    texts = {'hold polygons of no area, which are left out': partial, 'do not overlap their bbox': away}
    return [
        f"'{path}': {len(found)} of {len(entries)} masks {text} (first: annotation {found[0]['id']!r})"
        for text, found in texts.items()
        if found
    ]


def _is_finite(polygon: list[Any]) -> bool:
    return set(map(type, polygon)) <= {int, float} and math.isfinite(sum(polygon))


def _touch(polygons: Sequence[list[list[float]]], box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether the smallest box around the polygons of each annotation touches its bbox.

    Args:
        polygons: The polygons of each annotation, at least one.
        box: Boxes as x, y, width, height, of shape (N, 4).
    """
    if not polygons:
        return np.zeros(0, dtype=np.bool_)
    values = [list(chain.from_iterable(group)) for group in polygons]
    points = np.array(list(chain.from_iterable(values)), dtype=np.float64).reshape(-1, 2)
    starts = np.concatenate([[0], np.cumsum([len(group) // 2 for group in values])[:-1]])
    least, most = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    touching = (least <= box[:, :2] + box[:, 2:]) & (most >= box[:, :2])
    return np.asarray(touching.all(1))


def _check_runs(mask: dict[str, Any], image: Entry | None, where: str) -> None:
    """Refuse run lengths that do not fill the image, over which pycocotools fails or never ends."""
    counts, size = mask.get('counts'), mask.get('size')
    if not isinstance(size, list) or len(size) != 2:
        raise ConfigError(f'{where} has run lengths with the size {size!r}; write [height, width] of the image')
    if image is not None and [float(side) for side in size] != [float(image['height']), float(image['width'])]:
        raise ConfigError(
            f'{where} has run lengths of the size {size} (height, width), and its image is '
            f'{image["height"]} high and {image["width"]} wide; write [{image["height"]}, {image["width"]}]'
        )
    if isinstance(counts, str):
        runs = decode_runs(counts)
    elif isinstance(counts, list) and all(isinstance(count, int) for count in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        raise ConfigError(f'{where} has run lengths with the counts {str(counts)[:40]}; valid: a list, or a text')
    if runs is None or (runs < 0).any() or runs.sum() != int(size[0]) * int(size[1]):
        total = (
            'no lengths' if runs is None else 'a negative length' if (runs < 0).any() else f'the sum {int(runs.sum())}'
        )
        raise ConfigError(
            f'{where} has run lengths whose counts give {total}, and the size {size} has '
            f'{int(size[0]) * int(size[1])} pixels; write the mask again, for example with pycocotools.mask.encode'
        )


def decode_runs(text: str) -> NDArray[np.int64] | None:
    """Return the run lengths of COCO's compressed text, None where it is not such a text.

    Six bits a character, from 48 on: five of the value, least significant first, and one that says whether more follow.
    From the fourth on, a value is the difference to the one two before (``rleFrString`` in cocoapi, common/maskApi.c).

    >>> decode_runs('52203').tolist()
    [5, 2, 2, 2, 5]
    """
    codes = np.frombuffer(text.encode('ascii', 'replace'), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or codes[-1] & 0x20:
        return None
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 8:
        return None
    shift = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 0x1F) << shift, starts)
    values -= np.where(codes[ends] & 0x10, 1 << (5 * lengths), 0)
    # The first value stands alone; then two sequences of differences are interleaved.
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values
