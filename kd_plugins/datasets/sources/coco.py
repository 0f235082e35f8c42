"""Annotation files in COCO format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def write_coco(path: Path, entries: Sequence[tuple[Entry, Sequence[Entry]]], categories: Sequence[Entry]) -> None:
    """Write an annotation file; images and annotations are numbered from 1.

    Args:
        path: The file.
        entries: Each image (``file_name``, ``width``, ``height``) with its annotations (``category_id``, ``bbox``,
            ``area``).
        categories: The categories, each with ``id`` and ``name``.
    """
    images: list[Entry] = []
    annotations: list[Entry] = []
    for image_id, (image, objects) in enumerate(entries, start=1):
        images.append({'id': image_id, **image})
        for annotation in objects:
            annotations.append({'id': len(annotations) + 1, 'image_id': image_id, **annotation, 'iscrowd': 0})
    content = {'info': {}, 'licenses': [], 'images': images, 'annotations': annotations, 'categories': list(categories)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


__all__ = ['Entry', 'write_coco']
