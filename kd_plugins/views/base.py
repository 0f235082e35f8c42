"""Base class of all views, and the part of a padded image that holds the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from ..utils.argument_types import shown

PASSES = ('labelled', 'unlabelled')
"""The passes of the student in one iteration that a view can change."""


class BaseView:
    """A change of the preprocessed images of a batch.

    Positions must stay as they are, so that labels and the teacher's predictions still belong to the images. A view
    that exchanges parts of images says so with :attr:`mixes`, and :meth:`mix` does the same to the predictions.

    Args:
        on: Passes of the student that see the view: ``'labelled'``, ``'unlabelled'`` or both.
        key: Config key of the view, for error sentences.

    Raises:
        ConfigError: If ``on`` names no pass or an unknown one.
    """

    mixes = False
    """Whether parts of images are exchanged. The hook then gives the teachers' maps to :meth:`mix`."""

    def __init__(self, on: str | Sequence[str] = ('unlabelled',), key: str = 'student_view') -> None:
        self.key = key
        self.on = (on,) if isinstance(on, str) else tuple(on)
        if not self.on:
            raise ConfigError(f"{key}.on is {shown(on)}; valid: 'labelled', 'unlabelled'")
        for name in self.on:
            if name not in PASSES:
                raise ConfigError(f'{key}.on is {shown(on)}; {nearest(name, PASSES)}')

    def bind(self, preprocessor: Any) -> None:
        """Read how the images were normalised. It is called once, before training.

        Args:
            preprocessor: The student's ``data_preprocessor``, or None where it has none.
        """

    def __call__(self, inputs: Tensor, samples: Sequence[Any] | None, seed: int) -> Tensor:
        """Return the view of a batch.

        Args:
            inputs: Preprocessed images, (B, C, H, W); they are not changed.
            samples: The data samples of the images, which say how large each image is within its padding.
            seed: Seed of all random numbers of this batch.

        Returns:
            Images of the same shape, dtype and device.
        """
        raise NotImplementedError(f'{type(self).__name__} must define __call__(inputs, samples, seed)')

    def mix(self, maps: Tensor, inputs: Tensor, samples: Sequence[Any] | None, seed: int) -> Tensor:
        """Return maps of the images, with the parts exchanged as :meth:`__call__` does for the same seed.

        Args:
            maps: Maps of any stride, (B, C, h, w), of the unchanged images.
            inputs: The images, (B, C, H, W), for their size alone.
            samples: The data samples of the images.
            seed: Seed of all random numbers of this batch.
        """
        return maps


def picture_sizes(inputs: Tensor, samples: Sequence[Any] | None) -> Tensor:
    """Return height and width of each picture without its padding, which lies below and to the right of it.

    MMDetection and MMSegmentation keep this size in ``img_shape``. In MMPose, ``img_shape`` is the size of the file,
    and ``pad_shape`` that of the picture; its samples have ``input_size``.

    Args:
        inputs: Preprocessed images, (B, C, H, W).
        samples: Data samples, or None where there are none.

    Returns:
        Integers of shape (B, 2), on the CPU.
    """
    height, width = inputs.shape[-2:]
    sizes = []
    for index in range(len(inputs)):
        sample = samples[index] if samples is not None and index < len(samples) else None
        name = 'pad_shape' if getattr(sample, 'input_size', None) is not None else 'img_shape'
        shape = getattr(sample, name, None)
        known = (height, width) if shape is None else shape
        sizes.append((min(int(known[0]), height), min(int(known[1]), width)))
    return torch.tensor(sizes, dtype=torch.long).view(-1, 2)
