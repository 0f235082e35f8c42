"""Random brightness, contrast, saturation, hue and order of channels of images of bytes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from ...errors import ConfigError
from ...registry import TRANSFORMS
from .ranges import check_probability, check_range

KEY = 'pipeline: RandomPhotometricDistort'
Image = NDArray[np.uint8]
"""Image of shape (H, W, 3) with channels in the order B, G, R, or of shape (H, W, C) with another number of them."""


def _blended(image: Image, factor: float, other: float) -> Image:
    """Return ``factor * image + (1 - factor) * other``, rounded and clipped to bytes."""
    table = factor * np.arange(256) + (1 - factor) * other
    return np.asarray(table.round().clip(0, 255).astype(np.uint8)[image])


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def brightness(image: Image, factor: float) -> Image:
    """Return an image blended with black.

    >>> brightness(np.full((1, 1, 3), 200, np.uint8), 1.5).tolist()
    [[[255, 255, 255]]]
    """
    return _blended(image, factor, 0.0)


def contrast(image: Image, factor: float) -> Image:
    """Return an image blended with its mean luma, or the mean of its values where it has not three channels."""
    return _blended(image, factor, float((_grey(image) if image.shape[2] == 3 else image).mean()))


def saturation(image: Image, factor: float) -> Image:
    """Return an image of three channels blended with its luma.

    >>> saturation(np.array([[[0, 0, 100]]], np.uint8), 0.0).tolist()
    [[[30, 30, 30]]]
    """
    grey = cv2.cvtColor(_grey(image), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(image, factor, grey, 1 - factor, 0.0))


def hue(image: Image, shift: float) -> Image:
    """Return an image of three channels whose hue in HSV is shifted by ``shift`` turns of the colour circle.

    >>> hue(np.array([[[0, 0, 255]]], np.uint8), 1 / 3).tolist()  # red to green
    [[[0, 255, 0]]]
    """
    full = np.ascontiguousarray(image, dtype=np.float32) / 255
    converted = cv2.cvtColor(full, cv2.COLOR_BGR2HSV)  # hue in degrees
    converted[..., 0] = (converted[..., 0] + 360 * shift) % 360
    return np.asarray((cv2.cvtColor(converted, cv2.COLOR_HSV2BGR) * 255).round().clip(0, 255).astype(np.uint8))


OPERATIONS = {'brightness': brightness, 'contrast': contrast, 'saturation': saturation, 'hue': hue}
COLOURS = ('saturation', 'hue')
"""Operations that need three channels."""


@TRANSFORMS.register_module()
class RandomPhotometricDistort(BaseTransform):
    """Random brightness, contrast, saturation, hue and order of channels, each with probability ``prob``.

    The contrast changes before the saturation or after the hue, with equal probability. The image holds bytes, B, G and
    R as MMDetection loads them, and values are rounded and clipped after each operation, as Pillow does. MMDetection's
    ``PhotoMetricDistortion`` adds up to 32 to each value and leaves values outside of 0..255. Images that have not
    three channels keep saturation and hue.

    Source: ``RandomPhotometricDistort`` of torchvision.transforms.v2 with its defaults, as D-FINE uses it
    (Peterande/D-FINE, configs/dfine/include/dataloader.yml).

    Args:
        brightness: Least and largest factor of the values.
        contrast: Least and largest factor of the distance from the mean luma.
        saturation: Least and largest factor of the distance from the luma.
        hue: Least and largest shift of the hue in turns of the colour circle, from -0.5 to 0.5.
        prob: Probability of each operation and of a new order of the channels.

    Raises:
        ConfigError: If an argument is out of range, or an image does not hold bytes.
    """

    def __init__(
        self,
        brightness: tuple[float, float] = (0.875, 1.125),
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: tuple[float, float] = (-0.05, 0.05),
        prob: float = 0.5,
    ) -> None:
        self.ranges = {
            'brightness': check_range(f'{KEY}.brightness', brightness, 0.0),
            'contrast': check_range(f'{KEY}.contrast', contrast, 0.0),
            'saturation': check_range(f'{KEY}.saturation', saturation, 0.0),
            'hue': check_range(f'{KEY}.hue', hue, -0.5, 0.5),
        }
        self.prob = check_probability(f'{KEY}.prob', prob)

    def draw(self, channels: int) -> tuple[list[tuple[str, float]], NDArray[np.int64] | None]:
        """Return names and values of the operations in order, and the new order of the channels or None.

        Args:
            channels: Number of channels of the image.
        """
        values = {
            name: float(np.random.uniform(low, high))
            for name, (low, high) in self.ranges.items()
            if np.random.rand() < self.prob
        }
        order = ['brightness', 'saturation', 'hue']
        order.insert(1 if np.random.rand() < 0.5 else 3, 'contrast')
        permutation = np.random.permutation(channels) if np.random.rand() < self.prob else None
        allowed = [name for name in order if name in values and (channels == 3 or name not in COLOURS)]
        return [(name, values[name]) for name in allowed], permutation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the item with another ``img`` of the same shape and dtype.

        Raises:
            ConfigError: If ``img`` does not hold bytes.
        """
        image = results['img']
        if image.dtype != np.uint8:
            raise ConfigError(
                f'{KEY}: the image holds {image.dtype} and not bytes; put this step before those that convert to float '
                'numbers, and load with to_float32=False'
            )
        # Loaders give images of one channel, with color_type='grayscale', as (H, W).
        image = np.atleast_3d(image)
        steps, permutation = self.draw(image.shape[2])
        for name, value in steps:
            image = OPERATIONS[name](image, value)
        image = image if permutation is None else np.ascontiguousarray(image[..., permutation])
        results['img'] = image.reshape(results['img'].shape)
        return results
