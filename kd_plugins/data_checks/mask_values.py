"""Values of segmentation masks as MMSegmentation's ``LoadAnnotations`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

BYTES = 256


@dataclass(frozen=True)
class Mask:
    """Content of one mask file.

    Attributes:
        path: The file.
        shape: Height and width.
        values: The different values as stored, ascending.
    """

    path: str
    shape: tuple[int, ...]
    values: NDArray[Any]


def read_mask(path: str, backend: str) -> Mask:
    """Read a mask, and refuse what MMSegmentation cannot use as one.

    Args:
        path: The file.
        backend: ``imdecode_backend`` of the loader.

    Raises:
        ConfigError: If it is unreadable, holds colours, or values that one byte cannot hold.
    """
    import mmcv

    content = Path(path).read_bytes()
    if not content:
        raise ConfigError(f"'{path}' is empty; write the mask again")
    try:
        pixels = mmcv.imfrombytes(content, flag='unchanged', backend=backend)
        pixels = None if pixels is None else pixels.squeeze()
    except Exception as error:  # each backend raises errors of its own
        raise ConfigError(f"'{path}' is truncated or not an image ({error}); write the mask again") from error
    if pixels is None:
        raise ConfigError(f"'{path}' is truncated or not an image; write the mask again")
    if pixels.ndim != 2:
        _refuse_colours(path, pixels, backend)
    if pixels.dtype == np.uint8:
        values: NDArray[Any] = np.flatnonzero(np.bincount(pixels.ravel(), minlength=BYTES))
    else:
        values = np.unique(pixels).astype(np.float64 if pixels.dtype.kind == 'f' else np.int64)
    # The loader converts to bytes, which wraps: 300 would become 44.
    foreign = values[~((values >= 0) & (values < BYTES) & (values == np.round(values)))]
    if len(foreign):
        raise ConfigError(
            f"'{path}' holds the value {foreign[0]:g} ({pixels.dtype}), which MMSegmentation converts to one byte; "
            'write class indices from 0 to 254, and 255 for pixels to ignore, as 8-bit PNG'
        )
    return Mask(path, tuple(pixels.shape), values.astype(np.int64))


def _refuse_colours(path: str, pixels: NDArray[Any], backend: str) -> None:
    shape = tuple(pixels.shape)
    if pixels.ndim < 2:
        raise ConfigError(f"'{path}' has the shape {shape}; a mask needs at least 2 rows and 2 columns")
    channels = pixels[..., :3].reshape(-1, pixels[..., :3].shape[-1])
    if backend != 'pillow' and path.lower().endswith('.png') and _has_palette(path):
        advice = "it has a palette, whose indices imdecode_backend='pillow' reads"
    elif (channels == channels[:, :1]).all():
        advice = 'its channels are equal; save one of them'
    else:
        advice = 'save the class index of each pixel, as PNG with one channel'
    raise ConfigError(
        f"'{path}' has {shape[-1]} channels (colours), and a mask has one, which holds class indices; {advice}"
    )


def _has_palette(path: str) -> bool:
    with open(path, 'rb') as file:
        return file.read(26)[25:] == b'\x03'


def loaded_values(reduce_zero_label: bool, label_map: Mapping[int, int] | None) -> NDArray[np.int64]:
    """Return the label that each stored value becomes when MMSegmentation loads it, shape (256,).

    >>> loaded_values(True, None)[[0, 1, 2, 255]].tolist()
    [255, 0, 1, 255]
    >>> loaded_values(False, {0: 1, 255: 0})[[0, 1, 255]].tolist()
    [1, 1, 0]
    """
    table = np.arange(BYTES, dtype=np.int64)
    if reduce_zero_label:
        table[0] = BYTES - 1
        table = table - 1
        table[table == BYTES - 2] = BYTES - 1
    stored = table.copy()
    for old, new in (label_map or {}).items():
        table[stored == old] = new
    return table
