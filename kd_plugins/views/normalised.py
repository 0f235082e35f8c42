"""Base class of the views that change the picture itself, before its normalisation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..errors import ConfigError
from ..ops.normalisation import WHITE, Normalisation, read_normalisation
from ..ops.rectangles import picture_sizes, rectangle_mask
from ..utils.checks import check_choice
from .base import BaseView

TOLERANCE = 5.0
"""Distance of a value from the range of images that rounding and interpolation may cause, of 255."""


class NormalisedView(BaseView):
    """A view of images of the range [0, 1].

    Args:
        on: Passes of the student that see the view: ``'labelled'``, ``'unlabelled'`` or both.
        channel_order: Order of the channels of the network's input, ``'rgb'`` or ``'bgr'``. ``'auto'`` is R, G, B where
            the preprocessor swaps channels and B, G, R where it does not.
        key: Config key of the view, for error sentences.

    Raises:
        ConfigError: If a setting does not fit.
    """

    def __init__(
        self,
        on: str | Sequence[str] = ('unlabelled',),
        channel_order: str = 'auto',
        key: str = 'student_view',
    ) -> None:
        super().__init__(on, key)
        self.channel_order = check_choice(f'{key}.channel_order', channel_order, ('auto', 'rgb', 'bgr'))
        self._normalisation: Normalisation | None = None
        self._seen = False

    def bind(self, preprocessor: Any) -> None:
        """Read mean, standard deviation and channel order of the student's ``data_preprocessor``.

        Args:
            preprocessor: The module; None stands for images with values from 0 to 255.

        Raises:
            ConfigError: If its mean or standard deviation cannot be undone.
        """
        self._normalisation = read_normalisation(preprocessor, self.channel_order, self.key)

    def normalisation_of(self, inputs: Tensor, samples: Sequence[Any] | None = None) -> Normalisation:
        """Return the normalisation of a batch, after a check of its shape and, of the first one, of its range.

        Args:
            inputs: Preprocessed images, (B, C, H, W).
            samples: The data samples of the images, which say how large each image is within its padding.

        Raises:
            ConfigError: If they have another shape, or another number of channels than the normalisation.
        """
        if self._normalisation is None:
            raise ConfigError(f'{self.key}: {type(self).__name__} was called before bind(data_preprocessor)')
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            found = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ConfigError(
                f'{self.key}: the data_preprocessor gives {found}, and a photometric view needs images of shape '
                '(N, C, H, W); remove student_view'
            )
        channels = len(self._normalisation.mean)
        if channels not in (1, inputs.shape[1]):
            raise ConfigError(
                f'{self.key}: data_preprocessor.mean has {channels} numbers and the images have {inputs.shape[1]} '
                'channels; give one number for each channel'
            )
        if not self._seen:
            self._seen = True
            self._check_range(self._normalisation.undo(inputs), picture_sizes(inputs, samples))
        return self._normalisation

    def _check_range(self, images: Tensor, sizes: Tensor) -> None:
        """Warn of images that are cut to [0, 1] because the preprocessor does not say how they were normalised."""
        corners = torch.zeros_like(sizes)
        valid = rectangle_mask(corners, sizes, (images.shape[2], images.shape[3])).to(images.device)
        pixels = images.masked_select(valid)
        low, high = (WHITE * float(bound) for bound in (pixels.min(), pixels.max())) if len(pixels) else (0.0, WHITE)
        if low < -TOLERANCE or high > WHITE + TOLERANCE:
            print_log(
                f'{self.key}: with mean and std of data_preprocessor undone, the first images have values from '
                f'{low:.4g} to {high:.4g}, and the view cuts them to those of images, 0 to 255; nearest: normalise in '
                'data_preprocessor, and not in the pipeline.',
                'current',
                logging.WARNING,
            )
