"""Helpers of all pictures: reading images, writing files, probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, nearest

Array = NDArray[Any]

FORMATS = ('png', 'pdf', 'svg', 'jpg')
DPI = 120
"""Pixels of an inch."""
LARGEST = 65500
"""Pixels on a side that a JPEG and matplotlib's PNG can have."""


def check_picture_name(path: str) -> None:
    """Refuse the name of a picture that cannot be written, before a model is built.

    Raises:
        ConfigError: If its ending is not a known format.
    """
    ending = Path(path).suffix.removeprefix('.').lower()
    if ending not in FORMATS:
        raise ConfigError(f"--out: '{path}' does not end in a known format; {nearest(ending, FORMATS, 4)}")


def read_image(path: str, key: str = 'image') -> Array:
    """Return an RGB image, read as in the pipelines.

    Args:
        path: File of the image.
        key: Name of the argument for the error sentence.

    Raises:
        ConfigError: If the file holds no image.
    """
    import cv2
    import mmcv

    try:
        image = mmcv.imread(path, channel_order='rgb')
    except (cv2.error, IsADirectoryError):  # an empty file, a folder
        image = None
    if image is None:
        raise ConfigError(f"{key}: '{path}' is not an image that OpenCV can read")
    return image


def save_picture(figure: Any, path: str) -> None:
    """Write a figure, and create the folders of its path.

    Raises:
        ConfigError: If the picture would have more pixels than its format takes.
    """
    width, height = (round(inches * DPI) for inches in figure.get_size_inches())
    if Path(path).suffix.lower() in ('.png', '.jpg') and max(width, height) > LARGEST:
        raise ConfigError(
            f"--out: '{path}' would have {width} x {height} pixels, and such a file has at most {LARGEST} on a side; "
            f"draw less, or nearest: '{Path(path).with_suffix('.pdf')}'"
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def softmax(logits: Array) -> Array:
    """Return probabilities over the last axis.

    >>> softmax(np.array([0.0, 0.0, -1e4]))
    array([0.5, 0.5, 0. ])
    """
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
