"""Conversion between the normalised input of a network and images in [0, 1], by the settings of its preprocessor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError

WHITE = 255.0
"""Value of white in the images that OpenMMLab's pipelines give to the preprocessor."""


@dataclass(frozen=True)
class Normalisation:
    """Mean, standard deviation and channel order of the input of a network.

    Attributes:
        mean: Mean of each channel, from 0 to 255, in the order of the network's input, shape (C, 1, 1) or (1, 1, 1).
        std: Standard deviation of each channel, likewise.
        bgr: Whether the channels are in the order B, G, R.
    """

    mean: Tensor
    std: Tensor
    bgr: bool

    def undo(self, inputs: Tensor) -> Tensor:
        """Return images in [0, 1] and float32, in the order R, G, B.

        Args:
            inputs: Input of the network, (B, C, H, W).
        """
        images = (inputs.float() * self.std.to(inputs.device) + self.mean.to(inputs.device)) / WHITE
        return self._ordered(images)

    def redo(self, images: Tensor) -> Tensor:
        """Return the input of the network in float32.

        Args:
            images: Images in [0, 1], in the order R, G, B, (B, C, H, W).
        """
        return (self._ordered(images) * WHITE - self.mean.to(images.device)) / self.std.to(images.device)

    def _ordered(self, images: Tensor) -> Tensor:
        return images.flip(1) if self.bgr and images.shape[1] == 3 else images


def inner_preprocessor(preprocessor: Any) -> Any:
    """Return the preprocessor of the images.

    MMDetection's ``MultiBranchDataPreprocessor``, for batches of several branches, keeps it inside; any other one, and
    ``None``, is returned as it is.
    """
    return getattr(preprocessor, 'data_preprocessor', preprocessor)


def read_normalisation(preprocessor: Any, channel_order: str, key: str) -> Normalisation:
    """Return the normalisation of a preprocessor of MMEngine, MMDetection, MMSegmentation or MMPose.

    Images are read in the order B, G, R by MMCV. A preprocessor with ``bgr_to_rgb`` or ``rgb_to_bgr`` swaps the
    channels and does not keep which of the two it was, so a swap counts as one to R, G, B.

    Args:
        preprocessor: The module, or None for images that were not changed.
        channel_order: ``'rgb'`` or ``'bgr'`` for the channels of the network's input, or ``'auto'``.
        key: Config key of the part that asks, for error sentences.

    Raises:
        ConfigError: If a standard deviation is 0 or the mean is not one number for each channel.
    """
    preprocessor = inner_preprocessor(preprocessor)
    normalises = getattr(preprocessor, '_enable_normalize', True)
    mean = _per_channel(getattr(preprocessor, 'mean', None) if normalises else None, 0.0, 'mean', key)
    std = _per_channel(getattr(preprocessor, 'std', None) if normalises else None, 1.0, 'std', key)
    if not bool((std > 0).all()):
        raise ConfigError(
            f'{key}: data_preprocessor.std is {std.flatten().tolist()}; it must be numbers > 0, such as 58.395'
        )
    swapped = any(getattr(preprocessor, name, False) for name in ('_channel_conversion', 'channel_conversion'))
    return Normalisation(mean, std, bgr=not swapped if channel_order == 'auto' else channel_order == 'bgr')


def _per_channel(value: Any, default: float, name: str, key: str) -> Tensor:
    numbers = torch.as_tensor(default if value is None else value).detach().float().cpu().reshape(-1, 1, 1)
    if not bool(numbers.isfinite().all()):
        raise ConfigError(f'{key}: data_preprocessor.{name} is {numbers.flatten().tolist()}; it must be finite numbers')
    return numbers
