"""Base class of all views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
