"""Checks of image files: missing, unreadable, other size than annotated, orientation and bit depth."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError, nearest
from ..utils.files import missing_files, names_in
from .image_header import ImageHeader, read_header
from .sources import Source

Item = TypeVar('Item')
SECONDS = 4.0
"""Time for the sizes of the files of one data set, and for the headers; the rest of a large set is not looked at."""
DECODED = 24
"""Images that are decoded fully: half of them the smallest files, half of them evenly over the data set."""
LOADING_STEPS = ('LoadImageFromFile', 'LoadImage')
"""Steps of MMCV and MMPose that read an image file."""
FIRST = 256
"""Files that are read in any case, however slow they are."""


def spread(items: Sequence[Item]) -> Iterator[Item]:
    """Yield all items, the first ones evenly over the sequence.

    >>> list(spread('abcdefgh'))
    ['a', 'e', 'c', 'g', 'b', 'd', 'f', 'h']
    """
    step = 1 << max(len(items) - 1, 0).bit_length()
    seen = range(0)
    while step >= 1:
        yield from (items[at] for at in range(0, len(items), step) if not len(seen) or at % seen.step)
        seen = range(0, len(items), step)
        step //= 2


def within(items: Sequence[Item], seconds: float, first: int = FIRST) -> Iterator[Item]:
    """Yield items evenly over the sequence until the time is over, but at least the ``first`` ones."""
    end = time.monotonic() + seconds
    for index, item in enumerate(spread(items)):
        if index >= first and time.monotonic() > end:
            return
        yield item


def check_exist(paths: Iterable[str], key: str) -> None:
    """Refuse files that do not exist.

    Args:
        paths: Paths of files.
        key: Config key of the data set, for the error sentence.

    Raises:
        ConfigError: Naming the first file and the nearest name in its folder.
    """
    paths = list(paths)
    missing = missing_files(paths)
    if not missing:
        return
    folder, name = os.path.split(missing[0])
    if not Path(folder).is_dir():
        raise ConfigError(f"{key}: '{missing[0]}' does not exist, nor does its folder; check data_root and data_prefix")
    names = sorted(names_in(folder))
    same = [other for other in names if other.lower() == name.lower()]
    raise ConfigError(
        f"{key}: '{missing[0]}' does not exist ({len(missing)} of {len(paths)} files are missing); "
        f'{(f"nearest: {same[0]!r}" if same else nearest(name, names[:2000], 1))}'
    )


def reads_with_opencv(source: Source) -> bool:
    """Return whether OpenCV decodes the images of a data set: no other loading step and no other backend does."""
    step = source.step(*LOADING_STEPS)
    return not source.steps if step is None else step.get('imdecode_backend') in (None, 'cv2')


def check_images(
    paths: Sequence[str], sizes: Sequence[tuple[int, int] | None], key: str, file: str, color_type: str = 'color'
) -> list[str]:
    """Check image files that OpenCV decodes, as OpenMMLab's loaders let it do.

    Args:
        paths: Paths of the images.
        sizes: Annotated width and height of each, None where the annotation has none.
        key: Config key of the data set.
        file: The annotation file, for error sentences.
        color_type: Argument of ``LoadImageFromFile``, which decides whether loaders obey the EXIF orientation; with
            ``'unchanged'`` they keep all bits.

    Returns:
        Remarks.

    Raises:
        ConfigError: Naming the first image that is missing, unreadable or of another size.
    """
    check_exist(paths, key)
    size_of = dict(zip(paths, sizes))
    unique = list(size_of)
    for path in within(unique, SECONDS):  # on a network file system, to ask for each file takes a millisecond
        _check_file(path, file)
    headers: dict[str, ImageHeader] = {}
    for path in within(unique, SECONDS):
        try:
            header = read_header(path)
        except OSError as error:
            raise ConfigError(f"'{path}' cannot be opened: {error.strerror}; copy it again") from error
        if header is None:
            raise ConfigError(f"'{path}' is not a readable image; copy it again, or remove it from '{file}'")
        headers[path] = header
        if not header.complete:
            _check_cut(path, file)
        if size_of[path] is not None:
            _check_size(path, header, size_of[path], file, color_type)  # type: ignore[arg-type]
    notes = _orientation_note(headers) if color_type == 'color' else []
    notes += [] if color_type == 'unchanged' else _depth_notes(headers, key)
    small = sorted(headers, key=os.path.getsize)[: DECODED // 2]
    for path in dict.fromkeys([*small, *within(unique, 1.0, 0)][:DECODED]):
        if decode(path, color_type) is None:
            raise ConfigError(f"'{path}' is not a readable image; copy it again, or remove it from '{file}'")
    if len(headers) < len(unique):
        notes.append(f'{key}: {len(headers)} of {len(unique)} images were opened, evenly over the data set')
    cut = [path for path, header in headers.items() if not header.complete]
    if cut:
        notes.append(f"{len(cut)} images have no end mark and may be cut off (first: '{min(cut)}')")
    return notes


def decode(path: str, flag: str = 'color') -> Any:
    """Return the pixels of an image as OpenMMLab's loaders get them, None where they fail."""
    try:
        import cv2
        import numpy as np
    except ModuleNotFoundError:
        return ()
    flags = cv2.IMREAD_UNCHANGED if flag == 'unchanged' else cv2.IMREAD_COLOR
    if flag.endswith('ignore_orientation'):
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.fromfile(path, np.uint8), flags)
    except cv2.error:
        return None


def _check_cut(path: str, file: str) -> None:
    if decode(path) is None:
        raise ConfigError(f"'{path}' is cut off and cannot be read; copy it again, or remove it from '{file}'")


def _check_file(path: str, file: str) -> None:
    try:
        information = os.stat(path)
    except OSError as error:
        raise ConfigError(f"'{path}' is a link to a file that does not exist; copy the file itself") from error
    if not stat.S_ISREG(information.st_mode):
        raise ConfigError(f"'{path}' is not a file, but '{file}' lists it as an image; remove it there")
    if information.st_size == 0:
        raise ConfigError(f"'{path}' is empty; copy it again, or remove it from '{file}'")


def _loaded_size(path: str, header: ImageHeader, color_type: str) -> tuple[int, int]:
    """Return width and height as loaded; which formats are turned by EXIF depends on the version of OpenCV."""
    pixels: Any = decode(path, color_type) if header.orientation >= 5 else None
    if pixels is None or len(pixels) == 0:
        return header.width, header.height
    return int(pixels.shape[1]), int(pixels.shape[0])


def _check_size(path: str, header: ImageHeader, size: tuple[int, int], file: str, color_type: str) -> None:
    stored = (header.width, header.height)
    shown = _loaded_size(path, header, color_type)
    if tuple(size) == shown:
        return
    if shown != stored and tuple(size) == stored:
        raise ConfigError(
            f"'{path}' has EXIF orientation {header.orientation}, so that it is loaded as {shown[0]}x{shown[1]}, and "
            f"'{file}' annotates {size[0]}x{size[1]}; save it turned and without EXIF, or annotate it as it is shown"
        )
    raise ConfigError(
        f"'{path}' is {shown[0]}x{shown[1]} pixels and '{file}' says {size[0]}x{size[1]} (width x height); write the "
        'size of the file, and scale its annotations if the image was resized'
    )


def _orientation_note(headers: dict[str, ImageHeader]) -> list[str]:
    turned = [
        path
        for path, header in headers.items()
        if header.orientation in (2, 3, 4) or (header.orientation >= 5 and header.width == header.height)
    ]
    if not turned:
        return []
    first = min(turned)
    return [
        f"{len(turned)} images have an EXIF orientation that loaders obey (first: '{first}', orientation "
        f'{headers[first].orientation}); check that their annotations are drawn on the turned image'
    ]


def _depth_notes(headers: dict[str, ImageHeader], key: str) -> list[str]:
    deep = sorted(path for path, header in headers.items() if header.bits > 8)
    unread = next((path for path in deep[:8] if decode(path) is None), None)
    if unread is not None:
        raise ConfigError(
            f"'{unread}' has {headers[unread].bits} bits per channel, which loaders cannot read; save it with 8 bits"
        )
    notes = []
    if deep:
        top = max((int(pixels.max()) for pixels in map(_unchanged, deep[:8]) if pixels is not None), default=65535)
        if top < 8192:
            raise ConfigError(
                f"'{deep[0]}' has {headers[deep[0]].bits} bits per channel and values up to {top} only, of which "
                f'loaders keep the upper 8 bits ({top // 256 + 1} grey levels); scale its values to 8 bits'
            )
        notes.append(
            f"{key}: {len(deep)} images have more than 8 bits per channel (first: '{deep[0]}'); loaders keep 8"
        )
    counts = Counter(header.channels for header in headers.values())
    if len(counts) > 1:
        rare = min(counts, key=lambda channels: counts[channels])
        first = min(path for path, header in headers.items() if header.channels == rare)
        if rare in (2, 4):
            notes.append(
                f"{key}: {counts[rare]} images have {rare} channels (first: '{first}'); loaders make 3 of them"
            )
    return notes


def _unchanged(path: str) -> Any:
    pixels = decode(path, 'unchanged')
    return None if pixels is None or len(pixels) == 0 else pixels
