"""Description of a public data set: where it comes from, how it is checked, how its files are laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import KDPluginsError


class SourceError(KDPluginsError, RuntimeError):
    """A data set that cannot be fetched, verified or laid out."""


@dataclass(frozen=True)
class Source:
    """A public data set that the shipped configs read.

    Attributes:
        name: Name of the subcommand and of the default folder.
        about: The data set in a few words, its terms of use, and the approximate size of the archive.
        url: Address of the archive.
        anchor: A file of the archive, relative to its data. What stands before it in its member name (the top folder
            of a GitHub archive, for example) is cut from the names of all members.
        members: Prefixes of the member names, relative to the data, that are unpacked.
        lay_out: Function of the folder of unpacked files and an empty folder: moves and converts the files into it.
        md5: MD5 of the archive as published, if there is one.
        contents: SHA-256 of the data set's ``SHA256SUMS`` (:func:`~.checksums.checksums`), if known.
        packages: Importable names of the optional packages that ``lay_out`` needs.
        strict: Whether other contents than ``contents`` are an error. ``False`` where the files that the hash was
            computed from are not known to be byte-identical to those of the source.
    """

    name: str
    about: str
    url: str
    anchor: str
    members: tuple[str, ...]
    lay_out: Callable[[Path, Path], None]
    md5: str | None = None
    contents: str | None = None
    packages: tuple[str, ...] = ()
    strict: bool = True


__all__ = ['Source', 'SourceError']
