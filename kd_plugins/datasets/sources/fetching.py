"""Fetching a data set: download, verification, layout, and the move into place."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...errors import MissingDependencyError, extra_note
from .archives import unpack
from .checksums import SUMS, checksums, digest_of, first_difference, hash_file
from .download import download, forget
from .progress import show_progress
from .source import Source, SourceError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class DataSet(NamedTuple):
    """A data set on disk.

    Attributes:
        files: Number of its files.
        contents: SHA-256 of its ``SHA256SUMS``.
    """

    files: int
    contents: str


def find_finished(source: Source, out: Path) -> DataSet | None:
    """Return the data set that lies in a folder, after checking every file.

    A folder without ``SHA256SUMS`` counts where its contents are those of the source, as those of a copy are.

    Args:
        source: The data set.
        out: The folder.

    Returns:
        ``None`` where the folder is empty or absent.

    Raises:
        SourceError: If the folder holds something else, or a file is missing or changed.
    """
    if not out.exists():
        return None
    if not out.is_dir():
        raise SourceError(f"'{out}' is a file; name a folder")
    if not any(out.iterdir()):
        return None
    marker = out / SUMS
    sums = marker.read_text(encoding='utf-8') if marker.is_file() else checksums(out)
    known = source.contents is None or digest_of(sums) == source.contents
    if not marker.is_file() and (source.contents is None or not known):
        raise SourceError(f"'{out}' holds other files; name another folder, or remove this one")
    changed = first_difference(out, sums) if marker.is_file() else None
    if changed is not None:
        raise SourceError(f"'{out / changed}' is missing or was changed; remove '{out}' and run the command again")
    if source.strict and not known:
        raise SourceError(
            f"'{marker}' lists another data set or version (expected SHA-256 {source.contents}, found "
            f"{digest_of(sums)}); remove '{out}' and run the command again"
        )
    return DataSet(len(sums.splitlines()), digest_of(sums))


def fetch(source: Source, out: Path, url: str | None = None, archive: Path | None = None) -> DataSet:
    """Fetch a data set into a folder that is absent or empty.

    The download stays beside the folder, in its name with ``.part`` appended, until the data set is in place; a run
    that was stopped goes on from there. The folder appears when everything in it was verified.

    Args:
        source: The data set.
        out: The folder.
        url: Address of the archive, by default the source's.
        archive: The archive where it is already on this machine. It is not removed.

    Raises:
        SourceError: If it cannot be had, verified or written. What was downloaded is removed where it is wrong.
        MissingDependencyError: If the layout needs a package that is not installed.
    """
    if out.name in ('', '..'):
        raise SourceError(f"'{out}' names no folder that can be made; name one, for example data/{source.name}")
    missing = next((name for name in source.packages if find_spec(name) is None), None)
    if missing is not None:
        raise MissingDependencyError(
            f"{source.name}: the package '{missing}' is not installed{extra_note(missing)}, and its files cannot be "
            'converted without it; kd_plugins doctor prints the command'
        )
    part = out.with_name(f'{out.name}.part')
    work = out.with_name(f'.{out.name}.unpacked')
    with disk_errors(out):
        if archive is None:
            with show_progress(source.name) as show:
                download(url or source.url, part, show)
        elif not archive.is_file():
            raise SourceError(f"--archive: '{archive}' does not exist")
        shutil.rmtree(work, ignore_errors=True)
        try:
            check_archive(source, archive or part)
            unpack(archive or part, source.anchor, source.members, work / 'archive')
            made = make_tree(source, work)
            put_in_place(work / 'tree', out)
        except SourceError:
            if archive is None:
                forget(part)
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if archive is None:
            forget(part)
    return made


def check_archive(source: Source, archive: Path) -> None:
    """Check an archive against the published hash, where there is one.

    Raises:
        SourceError: If it differs.
    """
    actual = hash_file(archive, 'md5') if source.md5 else None
    if actual != source.md5:
        raise SourceError(f"'{archive}' is not the archive of {source.name}: expected MD5 {source.md5}, found {actual}")


def make_tree(source: Source, work: Path) -> DataSet:
    """Lay out the unpacked files and verify the result.

    Args:
        source: The data set.
        work: Folder with the unpacked ``archive``; gets ``tree``.

    Raises:
        SourceError: If the contents are not the expected ones.
    """
    tree = work / 'tree'
    tree.mkdir(parents=True)
    source.lay_out(work / 'archive', tree)
    sums = checksums(tree)
    contents = digest_of(sums)
    if source.strict and source.contents not in (None, contents):
        raise SourceError(
            f'the contents of {source.name} are not the expected ones: expected SHA-256 {source.contents} of the '
            f'{SUMS} file, found {contents}'
        )
    (tree / SUMS).write_text(sums, encoding='utf-8')
    return DataSet(len(sums.splitlines()), contents)


def put_in_place(tree: Path, out: Path) -> None:
    """Move a finished folder to its place, which is absent or an empty folder."""
    target = out.resolve()  # the folder behind a symbolic link
    if target.is_dir():
        target.rmdir()
    if target.parent == out.parent.resolve():
        tree.rename(target)
    else:
        shutil.move(tree, target)


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn errors of the file system into a sentence.

    Raises:
        SourceError: If the disk is full or a file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise SourceError(
                f"no space is left on the disk of '{out.parent}'; free some, or name another folder, and run the "
                'command again'
            ) from error
        name = error.filename or out
        raise SourceError(f"'{name}' cannot be read or written ({error.strerror or error})") from error


__all__ = ['DataSet', 'fetch', 'find_finished']
