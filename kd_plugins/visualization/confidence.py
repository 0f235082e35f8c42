"""Confidence of a teacher at each pixel of its images, as class-score distillation reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distillers.logit import LogitDistiller
from ..errors import ConfigError
from .tapping import tapped


def teacher_confidence(model: Any, distiller: LogitDistiller, inputs: Tensor) -> Tensor:
    """Return a teacher's highest class probability at each pixel, over the classes and the levels of its head.

    Args:
        model: The teacher, in eval mode.
        distiller: The distiller that names its class logits, after its ``check_models``.
        inputs: Preprocessed images (B, C, H, W).

    Returns:
        Shape (B, H, W), in [0, 1].

    Raises:
        ConfigError: If the class logits are not maps of the images.
    """
    with torch.no_grad():
        outputs = tapped(model, distiller.key, distiller.teacher_taps(), inputs)[1]
    levels = distiller.confidence(outputs)
    if any(level.ndim != 3 for level in levels):
        raise ConfigError(
            f'{distiller.key}.logits: the class scores are no maps of the images, so that their confidence cannot be '
            'drawn; leave --checkpoint out'
        )
    return highest(levels, (inputs.shape[2], inputs.shape[3]))


def highest(levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the highest value of some maps at each pixel; a pixel has the value of the cell that contains it.

    Args:
        levels: Maps (B, h, w) of any resolution.
        size: Height and width of the images.

    >>> highest([torch.tensor([[[0.1, 0.7]]]), torch.tensor([[[0.3]]])], (1, 4))
    tensor([[[0.3000, 0.3000, 0.7000, 0.7000]]])
    """
    return torch.stack([F.interpolate(level[:, None], size, mode='nearest')[:, 0] for level in levels]).amax(dim=0)
