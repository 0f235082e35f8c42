"""Folder of one split of a data set that is made on this machine, and which of its files the command wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..utils.files import is_complete, write_atomically


class SplitFolder:
    """Writes the samples of a split, and removes those of an earlier split that the new one does not have.

    The names of the written files stay in a hidden file beside the annotations, so that they are also known after an
    interruption. No other file is removed or replaced.

    Args:
        folder: Folder of the samples.
        suffix: Suffix of their names, such as ``'.jpg'``.
        info: How the split is made; ``info['description']`` is that of the command.
        ann_file: Annotation file of the split, which is written last.
        more_files: Further annotation files of the split.
    """

    def __init__(
        self, folder: Path, suffix: str, info: dict[str, Any], ann_file: Path, more_files: tuple[Path, ...] = ()
    ) -> None:
        self.folder = folder
        self.suffix = suffix
        self.info = info
        self.ann_file = ann_file
        self.more_files = more_files
        self._names_file = ann_file.with_name(f'.{ann_file.stem}.written')
        self._earlier: set[str] = set()
        self._written: set[str] = set()

    def begin(self) -> bool:
        """Return whether the split has to be made; if so, remove the annotations of an earlier one.

        Raises:
            ConfigError: If a file is in the way that the command did not write.
        """
        if is_complete(self.ann_file, self.info):
            return False
        # The folder is read first: another process with the same arguments notes a name before it writes the file.
        present = sorted(path.name for path in self.folder.glob(f'[!.]*{self.suffix}'))
        description = json.dumps(self.info['description'])
        for file in (self.ann_file, *self.more_files):
            text = _text(file)
            if text and description not in text[:1000]:  # the first entry, also of a truncated file
                raise ConfigError(
                    f"OUT: '{file}' is not a file of this command ({self.info['description']}); name another folder, "
                    'or move the file'
                )
            self._earlier |= self._names(text)
        self._earlier |= self._names(_text(self._names_file))
        if present and not self._earlier:
            raise ConfigError(
                f"OUT: '{self.folder / present[0]}' is there, and nothing says that this command wrote it; name "
                f"another folder, or remove '{self.folder}'"
            )
        self._append(self._earlier)
        for file in (self.ann_file, *self.more_files):
            file.unlink(missing_ok=True)
        return True

    def write(self, name: str, data: bytes) -> None:
        """Write a sample.

        Raises:
            ConfigError: If a file of this name is there that the command did not write.
        """
        path = self.folder / name
        if name not in self._earlier:
            if path.exists() and name not in self._names(_text(self._names_file)):
                raise ConfigError(
                    f"OUT: '{path}' is there, and this command did not write it; move the file, or name another folder"
                )
            self._append({name})
        self._written.add(name)
        write_atomically(path, data)

    def remove_earlier(self) -> None:
        """Remove the samples of an earlier split that were not written again."""
        for name in self._earlier - self._written:
            (self.folder / name).unlink(missing_ok=True)
        write_atomically(self._names_file, _lines(self._written).encode())

    def _names(self, text: str) -> set[str]:
        """Return the names of samples in an annotation file, or in the hidden one."""
        return set(re.findall(rf'"([^"/\\]+{re.escape(self.suffix)})"', text))

    def _append(self, names: set[str]) -> None:
        self._names_file.parent.mkdir(parents=True, exist_ok=True)
        with self._names_file.open('a', encoding='utf-8') as file:
            file.write(_lines(names))


def _lines(names: set[str]) -> str:
    return ''.join(f'{json.dumps(name)}\n' for name in sorted(names))


def _text(file: Path) -> str:
    """Return the text of a file, empty where there is none."""
    try:
        return file.read_text(encoding='utf-8', errors='replace')
    except FileNotFoundError:
        return ''


__all__ = ['SplitFolder']
