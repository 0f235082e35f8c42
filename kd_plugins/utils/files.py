"""Write data sets so that an interruption leaves no incomplete file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)  # a full disk needs its space
        raise


def is_complete(ann_file: Path, info: dict[str, Any]) -> bool:
    """Return whether a split is complete and was written with the same arguments.

    Args:
        ann_file: The annotation file of the split, which is written last.
        info: The arguments, as they are stored in the file.
    """
    try:
        stored = json.loads(ann_file.read_text(encoding='utf-8')).get('info')
    except (OSError, ValueError, AttributeError):
        return False
    return bool(stored == info)
