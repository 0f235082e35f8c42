"""Files of data sets: complete writes, and which files exist."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
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


def names_in(folder: str) -> set[str]:
    """Return the names of the files in a folder, empty where it does not exist."""
    return {entry.name for entry in os.scandir(folder or os.curdir)} if Path(folder).is_dir() else set()


def missing_files(paths: Iterable[str]) -> list[str]:
    """Return the files that do not exist; each folder is listed once, which is much faster than asking for each file.

    Args:
        paths: Paths of files.
    """
    folders: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = names_in(folder)
        # Some file systems find a name that is written in another way, with capital letters for example.
        if name not in folders[folder] and not os.path.isfile(path):
            missing.append(path)
    return missing
