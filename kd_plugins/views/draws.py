"""Random parameters of the photometric view, drawn on the CPU so that they are the same on every device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..ops.rectangles import erased_sizes, random_corners
from .settings import Erasing, Settings

ATTEMPTS = 10
"""Attempts of one erasing to find a rectangle that fits, as in torchvision."""


@dataclass(frozen=True)
class Draws:
    """Parameters of one batch of B images, on the CPU.

    Attributes:
        easy: Whether an image is not changed at all, shape (B,).
        jitter: Whether the colours change, shape (B,).
        factors: Factors of brightness, contrast and saturation and the shift of the hue, shape (B, 4).
        order: Order of these four operations, a permutation of 0 to 3 in each row, shape (B, 4).
        grey: Whether an image becomes grey, shape (B,).
        blur: Whether an image is blurred, shape (B,).
        sigmas: Standard deviation of the blur, shape (B,).
        corners: Row and column of the rectangles to erase, integers of shape (B, E, 2).
        sizes: Height and width of the rectangles, 0 where none is erased, integers of shape (B, E, 2).
    """

    easy: Tensor
    jitter: Tensor
    factors: Tensor
    order: Tensor
    grey: Tensor
    blur: Tensor
    sigmas: Tensor
    corners: Tensor
    sizes: Tensor


def draw(settings: Settings, sizes: Tensor, generator: Generator) -> Draws:
    """Draw the parameters of a batch.

    The same number of values is drawn for all settings but the number of erasings, which come last. So changing one
    setting leaves the other parameters as they are.

    Args:
        settings: The settings.
        sizes: Height and width of each image without padding, integers of shape (B, 2).
        generator: Generator of the CPU.
    """
    count = len(sizes)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    chances = uniform(4)
    spread = torch.tensor([settings.brightness, settings.contrast, settings.saturation])
    low = (1 - spread).clamp(min=0)
    factors = low + uniform(3) * (1 + spread - low)
    shifts = (2 * uniform(1) - 1) * settings.hue
    order = uniform(4).argsort(1)
    sigmas = _between(settings.blur_sigma, uniform())
    rectangles = [random_rectangles(one, sizes, generator) for one in settings.erasings]
    empty = torch.zeros(count, 0, 2, dtype=torch.long)
    return Draws(
        easy=chances[:, 0] < settings.min_easy,
        jitter=chances[:, 1] < settings.jitter_prob,
        factors=torch.cat([factors, shifts], dim=1),
        order=order,
        grey=chances[:, 2] < settings.grey_prob,
        blur=chances[:, 3] < settings.blur_prob,
        sigmas=sigmas,
        corners=torch.stack([corners for corners, _ in rectangles], 1) if rectangles else empty,
        sizes=torch.stack([size for _, size in rectangles], 1) if rectangles else empty,
    )


def _between(bounds: tuple[float, float], uniform: Tensor) -> Tensor:
    return bounds[0] + uniform * (bounds[1] - bounds[0])


def random_rectangles(erasing: Erasing, sizes: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw a rectangle in each image.

    Args:
        erasing: Probability, share of the area, and height divided by width.
        sizes: Height and width of each image without padding, integers of shape (B, 2).
        generator: Generator of the CPU.

    Returns:
        Corners and sizes, integers of shape (B, 2); the size is 0 where there is no rectangle.
    """
    uniform = torch.rand(len(sizes), 2 * ATTEMPTS + 3, generator=generator)
    areas = _between(erasing.area, uniform[:, :ATTEMPTS])
    logarithms = (math.log(erasing.ratio[0]), math.log(erasing.ratio[1]))
    ratios = _between(logarithms, uniform[:, ATTEMPTS : 2 * ATTEMPTS]).exp()
    happens = uniform[:, 2 * ATTEMPTS, None] < erasing.prob
    erased = erased_sizes(sizes, areas, ratios) * happens
    return random_corners(sizes, erased, uniform[:, 2 * ATTEMPTS + 1 :]), erased
