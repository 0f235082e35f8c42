"""Generated images for the comparison of two forms of one model, and the size of images of a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..config.loading import class_name, walk
from ..errors import ConfigError
from ..utils.cli import note

SIDE = 640
"""Height and width where a config names none."""
DIVISOR = 32
"""The coarsest stride of the detectors; other runtimes expect sides that it divides."""


SIZES = {'Resize': 'scale', 'TopdownAffine': 'input_size', 'BottomupResize': 'input_size'}
"""Steps of a pipeline that resize images, to their argument with width and height."""


def smooth_images(height: int, width: int, seed: int = 0, count: int = 2, channels: int = 3) -> Tensor:
    """Return smooth random images with values about 0..1, (count, channels, height, width)."""
    noise = torch.rand(count, channels, 16, 16, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise, (height, width), mode='bicubic')


def rounded(side: int) -> int:
    """Return the multiple of :data:`DIVISOR` that is nearest to a side, the larger one of two.

    >>> rounded(240), rounded(1), rounded(640)
    (256, 32, 640)
    """
    return max(DIVISOR, (side + DIVISOR // 2) // DIVISOR * DIVISOR)


def resize_scale(config: Config) -> tuple[int, int] | None:
    """Return height and width to which the test pipeline of a config resizes images, None if it names none."""
    loader: Any = config.get('test_dataloader') or {}
    steps = ((node, SIZES.get(class_name(node))) for _, node in walk(loader.get('dataset')))
    scales = [node[name] for node, name in steps if name and isinstance(node.get(name), (tuple, list))]
    if not scales or len(scales[-1]) != 2:
        return None
    width, height = scales[-1]
    return int(height), int(width)


def image_size(config: Config, size: Sequence[int] | None) -> tuple[int, int]:
    """Return height and width of the images of a command.

    Args:
        config: The config, whose test pipeline gives the default, rounded to multiples of :data:`DIVISOR`.
        size: Height and width as given on the command line.

    Raises:
        ConfigError: If a side is no positive multiple of :data:`DIVISOR`.
    """
    if size is None:
        scale = resize_scale(config) or (SIDE, SIDE)
        height, width = map(rounded, scale)
        if scale != (height, width):
            note(f'images of {height} x {width}; the test pipeline has {scale[0]} x {scale[1]}')
        return height, width
    height, width = size
    if any(side < DIVISOR or side % DIVISOR for side in size):
        raise ConfigError(
            f'--size is {height} {width}; expected multiples of {DIVISOR}, nearest: {rounded(height)} {rounded(width)}'
        )
    return height, width


__all__ = ['DIVISOR', 'SIDE', 'image_size', 'rounded', 'smooth_images']
