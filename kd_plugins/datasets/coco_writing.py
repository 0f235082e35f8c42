"""Boxes of masks, and annotation files in COCO's format, for the data sets that are made on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.files import write_atomically

Box = tuple[int, int, int, int]
"""Corners x1, y1, x2, y2 in whole pixels, x2 and y2 exclusive."""


def tight_box(mask: NDArray[np.bool_]) -> Box:
    """Return the bounding box of the pixels set in a mask of shape (h, w), four zeros where there are none.

    >>> tight_box(np.array([[0, 0, 0], [0, 1, 1]], dtype=bool))
    (1, 1, 3, 2)
    """
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def coco_object(number: int, image: int, label: int, box: Box, area: int | None = None, crowd: bool = False) -> Any:
    """Return the entry of one object.

    Args:
        number: Its id.
        image: Id of its image.
        label: Index of its class, whose category is one higher.
        box: Its box.
        area: Number of its pixels; that of the box by default.
        crowd: Whether it counts neither as an object nor as an error.

    >>> coco_object(1, 0, 2, (3, 4, 5, 8))['bbox'], coco_object(1, 0, 2, (3, 4, 5, 8))['area']
    ([3, 4, 2, 4], 8)
    """
    x1, y1, x2, y2 = box
    sides = x2 - x1, y2 - y1
    return dict(
        id=number,
        image_id=image,
        category_id=label + 1,
        bbox=[x1, y1, *sides],
        area=sides[0] * sides[1] if area is None else area,
        iscrowd=int(crowd),
    )


def write_coco(
    path: Path,
    info: dict[str, Any],
    images: Sequence[dict[str, Any]],
    objects: Sequence[dict[str, Any]],
    classes: Sequence[str],
) -> None:
    """Write an annotation file.

    Args:
        path: The file.
        info: How the data set was made, for :func:`~kd_plugins.utils.files.is_complete`.
        images: With ``id``, ``file_name``, ``width`` and ``height``.
        objects: Of :func:`coco_object`.
        classes: Names of the classes; their categories count from 1.
    """
    categories = [dict(id=number + 1, name=name) for number, name in enumerate(classes)]
    coco = dict(info=info, images=list(images), annotations=list(objects), categories=categories)
    write_atomically(path, json.dumps(coco).encode())
