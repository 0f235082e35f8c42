"""Writing data sets so that an interrupted run leaves nothing half made."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    partial.write_bytes(data)
    partial.replace(path)


def is_complete(ann_file: Path, info: dict[str, Any]) -> bool:
    """Say whether a split was already made with the same arguments (its annotation file is written last)."""
    try:
        found = json.loads(ann_file.read_text(encoding='utf-8')).get('info')
    except (OSError, ValueError, AttributeError):
        return False
    return bool(found == info)
