"""Headers of JPEG, PNG and BMP files, read without decoding; other formats are left to Pillow."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG frames, whose segment holds the size."""
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ORIENTATION = 0x0112
TAIL = 64
"""Bytes at the end of a file in which its end mark is searched."""


@dataclass(frozen=True)
class ImageHeader:
    """Properties of an image file, read from its first bytes and its end.

    Attributes:
        width: Pixels per row, as stored.
        height: Rows, as stored.
        channels: Channels per pixel, 1 for a palette.
        bits: Bits per channel.
        orientation: EXIF orientation, 1 to 8; from 5 on, readers that obey it exchange width and height.
        complete: Whether the file ends with the end mark of its format.
    """

    width: int
    height: int
    channels: int
    bits: int
    orientation: int = 1
    complete: bool = True


def read_header(path: str) -> ImageHeader | None:
    """Return the header of an image file, None where it is not an image.

    Args:
        path: The file.

    Raises:
        OSError: If the file cannot be opened.
    """
    with open(path, 'rb') as file:
        start = file.read(32)
        try:
            if start.startswith(b'\xff\xd8'):
                return _jpeg(file) or _with_pillow(path)  # readers skip bytes between segments, and so does Pillow
            if start.startswith(b'\x89PNG\r\n\x1a\n'):
                width, height, bits, kind = struct.unpack('>IIBB', start[16:26])
                orientation = _png_orientation(file) or 1
                return ImageHeader(width, height, PNG_CHANNELS[kind], bits, orientation, b'IEND' in _tail(file))
            if start.startswith(b'BM'):
                width, height, _, bits = struct.unpack('<iiHH', start[18:30])
                return ImageHeader(width, abs(height), 1 if bits <= 8 else bits // 8, 8)
        except (struct.error, KeyError, IndexError):
            return None
    return _with_pillow(path) if start else None


def _tail(file: BinaryIO) -> bytes:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - TAIL, 0))
    return file.read()


def _png_orientation(file: BinaryIO) -> int | None:
    """Return the orientation in the ``eXIf`` chunk of a PNG, which stands before the pixels."""
    file.seek(8)
    while True:
        (length,), kind = struct.unpack('>I', file.read(4)), file.read(4)
        if kind == b'eXIf':
            return exif_orientation(b'Exif\0\0' + file.read(length))
        if kind in (b'IDAT', b'IEND', b''):
            return None
        file.seek(length + 4, os.SEEK_CUR)


def _jpeg(file: BinaryIO) -> ImageHeader | None:
    file.seek(2)
    orientation = 1
    while True:
        mark = file.read(2)
        if len(mark) < 2 or mark[0] != 0xFF:
            return None
        if mark[1] == 0xFF:  # fill byte
            file.seek(-1, os.SEEK_CUR)
            continue
        if mark[1] == 0x01 or 0xD0 <= mark[1] <= 0xD8:
            continue
        (length,) = struct.unpack('>H', file.read(2))
        if mark[1] in FRAMES:
            bits, height, width, channels = struct.unpack('>BHHB', file.read(6))
            return ImageHeader(width, height, channels, bits, orientation, b'\xff\xd9' in _tail(file))
        if mark[1] == 0xE1:
            orientation = exif_orientation(file.read(length - 2)) or orientation
        else:
            file.seek(length - 2, os.SEEK_CUR)


def exif_orientation(segment: bytes) -> int | None:
    """Return the orientation in an EXIF segment of a JPEG, None where it has none.

    >>> exif_orientation(b'http://ns.adobe.com/xap/1.0/') is None
    True
    """
    if not segment.startswith(b'Exif\0\0'):
        return None
    tiff = segment[6:]
    order = '<' if tiff[:2] == b'II' else '>'
    try:
        (offset,) = struct.unpack_from(f'{order}I', tiff, 4)
        (count,) = struct.unpack_from(f'{order}H', tiff, offset)
        for index in range(count):
            tag, _, _, value = struct.unpack_from(f'{order}HHIH', tiff, offset + 2 + 12 * index)
            if tag == ORIENTATION:
                return int(value) if 1 <= value <= 8 else None
    except struct.error:
        return None
    return None


def _with_pillow(path: str) -> ImageHeader | None:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return None
    try:
        with Image.open(path) as image:
            bits = 16 if image.mode.startswith('I;16') else 32 if image.mode in 'IF' else 8
            turned = image.getexif().get(ORIENTATION, 1)
            return ImageHeader(*image.size, len(image.getbands()), bits, turned if turned in range(1, 9) else 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
