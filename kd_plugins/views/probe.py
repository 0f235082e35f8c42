"""Probe of a transform: does it keep positions, and does its seed decide about its result?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConfigError
from ..utils.rng import seeded_rng
from .steps import Step, moved

CELLS = 16
"""Cells of the probe's picture in each direction."""
CELL = 8
"""Side of a cell in pixels."""
DRAWS = 16
"""Draws of random numbers with which a transform is tried."""
ALIKE = 0.3
"""Least correlation of a picture of 256 random cells with itself after a change of colours; others have 0 +- 0.06."""


def probe_picture() -> Tensor:
    """Return a picture of random dark and bright cells, shape (3, 128, 128)."""
    cells = torch.rand(CELLS, CELLS, generator=torch.Generator().manual_seed(0)) < 0.5
    return torch.where(cells, 0.2, 0.8).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1).expand(3, -1, -1).clone()


def likeness(first: Tensor, second: Tensor) -> float:
    """Return the absolute correlation of two pictures in grey, 1 where one of them has a single colour.

    Args:
        first: Shape (3, H, W).
        second: The same shape.

    >>> picture = probe_picture()
    >>> round(likeness(picture, 1 - 0.5 * picture), 4), likeness(picture, picture.flip(2)) < ALIKE
    (1.0, True)
    """
    greys = [picture.mean(0).flatten() for picture in (first, second)]
    centred = [grey - grey.mean() for grey in greys]
    lengths = [float(one.norm()) for one in centred]
    if min(lengths) < 1e-3 * len(greys[0]) ** 0.5:
        return 1.0
    return abs(float(centred[0] @ centred[1])) / (lengths[0] * lengths[1])


def check_step(step: Step) -> None:
    """Refuse a transform that moves pixels or that does not draw from the generators of Python, NumPy and PyTorch.

    Args:
        step: The transform.

    Raises:
        ConfigError: If it does so with one of some seeds.
    """
    picture = probe_picture()
    for seed in range(DRAWS):
        with seeded_rng(seed):
            changed = step(picture)
        if likeness(picture, changed) < ALIKE:
            raise moved(step.key, step.name)
        with seeded_rng(seed):
            again = step(picture)
        if not torch.equal(changed, again):
            raise ConfigError(
                f'{step.key}: {step.name} gives two results for one seed, so that a resumed run would see other '
                "images; give a transform without a memory or a generator of its own, such as 'mmdet."
                "PhotoMetricDistortion'"
            )
