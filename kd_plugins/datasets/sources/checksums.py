"""Checksums of the files of a folder, in the format of ``sha256sum``."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHUNK = 1 << 20
SUMS = 'SHA256SUMS'


def hash_file(path: Path, algorithm: str = 'sha256') -> str:
    """Return the hexadecimal hash of a file.

    Args:
        path: The file.
        algorithm: A name that :func:`hashlib.new` knows.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def checksums(folder: Path) -> str:
    """Return the text of a ``SHA256SUMS`` file: one line per file, sorted by relative name, without the file itself.

    Args:
        folder: The folder, read recursively.
    """
    names = (path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())
    return ''.join(f'{hash_file(folder / name)}  {name}\n' for name in sorted(names) if name != SUMS)


def digest_of(sums: str) -> str:
    """Return the SHA-256 of the text of a ``SHA256SUMS`` file: one hash for all contents.

    >>> digest_of('')[:8]
    'e3b0c442'
    """
    return hashlib.sha256(sums.encode()).hexdigest()


def first_difference(folder: Path, sums: str) -> str | None:
    """Return the relative name of the first file that is missing or changed, or ``None``.

    Args:
        folder: The folder; files that ``sums`` does not list are ignored.
        sums: Text of its ``SHA256SUMS`` file.
    """
    for line in sums.splitlines():
        expected, _, name = line.partition('  ')
        if not (folder / name).is_file() or hash_file(folder / name) != expected:
            return name
    return None


__all__ = ['SUMS', 'checksums', 'digest_of', 'first_difference', 'hash_file']
