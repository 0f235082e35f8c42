"""Files that a config names, read as text: to load all shipped configs takes 20 seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_BASES = re.compile(r'^_base_ = (\[.*?\]|.*?$)', re.DOTALL | re.MULTILINE)
_CONFIG = re.compile(r"'(?:kd_plugins::)?([^':]+\.py)'")


def files_of(path: Path, configs: Path, bases_only: bool = False) -> Iterator[Path]:
    """Yield a config, and every config that it names and that exists: its bases, their bases, and its teacher's.

    Args:
        path: The config.
        configs: Folder of the configs that ``'kd_plugins::PATH'``, or a path in it, names.
        bases_only: Whether configs that are named elsewhere than in ``_base_``, as a teacher's, are left out.
    """
    waiting, seen = [path.resolve()], set[Path]()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        text = current.read_text(encoding='utf-8')
        if bases_only:
            bases = _BASES.search(text)
            text = bases[1] if bases else ''
        places = [place for name in _CONFIG.findall(text) for place in (current.parent / name, configs / name)]
        waiting += [place.resolve() for place in places if place.is_file()]


__all__ = ['files_of']
