"""Unpacking of zip and tar archives from elsewhere.

Members are read as streams and written under checked names; neither :mod:`zipfile` nor :mod:`tarfile` chooses a path.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from .source import SourceError

Members = dict[str, Callable[[], IO[bytes]]]
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, NotImplementedError, RuntimeError)


def unpack(archive: Path, anchor: str, prefixes: Sequence[str], folder: Path) -> None:
    """Unpack part of an archive.

    Args:
        archive: A zip or tar file, compressed or not.
        anchor: A member, relative to the data: what stands before it is cut from all names.
        prefixes: Prefixes of the names to unpack, without what is cut.
        folder: Where they go.

    Raises:
        SourceError: If it is no archive, is damaged, lacks the anchor, or has a member that leads out of the folder.
    """
    with open_archive(archive) as members:
        for name in members:
            check_name(archive, name)
        root = root_of(archive, members, anchor)
        for name, open_member in members.items():
            if name.startswith(root) and name[len(root) :].startswith(tuple(prefixes)):
                target = folder / name[len(root) :]
                target.parent.mkdir(parents=True, exist_ok=True)
                with open_member() as reader, target.open('wb') as writer:
                    shutil.copyfileobj(reader, writer)


@contextmanager
def open_archive(archive: Path) -> Iterator[Members]:
    """Open an archive and give its regular files: name to a function that opens it.

    Raises:
        SourceError: If it is no archive, is damaged, or has a link or a device among its members.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                yield {info.filename: partial(zipped.open, info) for info in zipped.infolist() if not info.is_dir()}
        else:
            with tarfile.open(archive) as tar:
                yield tar_members(archive, tar)
    except SourceError:
        raise
    except DAMAGED as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise SourceError(f"'{archive}' is no archive or is damaged ({reason})") from error


def tar_members(archive: Path, tar: tarfile.TarFile) -> Members:
    """Return the regular files of an open tar archive.

    Raises:
        SourceError: If it has a link or a device among its members.
    """
    members: Members = {}
    for member in tar:
        if member.isreg():
            members[member.name] = partial(open_tar_member, tar, member)
        elif not member.isdir():
            raise SourceError(f"'{archive}' has a link or a device among its members, '{member.name}'; not unpacked")
    return members


def open_tar_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """Open a regular file of a tar archive."""
    reader = tar.extractfile(member)
    assert reader is not None, member.name
    return reader


def check_name(archive: Path, name: str) -> None:
    """Check that a member name leads nowhere else than into the folder.

    Raises:
        SourceError: If it is absolute, climbs with ``..``, or holds a backslash, a colon or a null byte.

    >>> check_name(Path('a.zip'), 'images/1.png')
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or '..' in path.parts or set(name) & set('\\:\0'):
        raise SourceError(f"'{archive}' has a member that leads out of the folder, {name!r}; not unpacked")


def root_of(archive: Path, names: Members, anchor: str) -> str:
    """Return what stands before the anchor in the member names.

    Raises:
        SourceError: If no member is the anchor.
    """
    roots = [name[: -len(anchor)] for name in names if name == anchor or name.endswith(f'/{anchor}')]
    if not roots:
        raise SourceError(f"'{archive}' has no '{anchor}'; it is not the archive of this data set")
    return min(roots, key=len)


def move_file(source: Path, target: Path) -> None:
    """Move an unpacked file to its place in the data set.

    Raises:
        SourceError: If the archive did not have it.
    """
    if not source.is_file():
        raise SourceError(f"the archive has no '{source.parent.name}/{source.name}'")
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


__all__ = ['move_file', 'unpack']
