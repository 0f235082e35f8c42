"""Rectangles in a batch of images: masks, and random erasing as torchvision defines it."""

from __future__ import annotations

import torch
from torch import Tensor


def rectangle_mask(corners: Tensor, sizes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return which pixels lie in a rectangle.

    Args:
        corners: Row and column of the upper left pixel for each image, integers of shape (B, 2).
        sizes: Height and width in pixels, integers of shape (B, 2).
        shape: Height and width of the images.

    Returns:
        Booleans of shape (B, 1, H, W).

    >>> rectangle_mask(torch.tensor([[0, 1]]), torch.tensor([[1, 2]]), (2, 3)).int()
    tensor([[[[0, 1, 1],
              [0, 0, 0]]]], dtype=torch.int32)
    """
    inside = []
    for dim in (0, 1):
        place = torch.arange(shape[dim], device=corners.device)
        start, length = corners[:, dim, None], sizes[:, dim, None]
        inside.append((place >= start) & (place < start + length))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def erased_sizes(sizes: Tensor, areas: Tensor, ratios: Tensor) -> Tensor:
    r"""Return height and width of the rectangle to erase: the first of several attempts that is smaller than the image.

    An attempt with the area share a and the ratio r has :math:`h = \mathrm{round}(\sqrt{a H W r})` and
    :math:`w = \mathrm{round}(\sqrt{a H W / r})`, as in ``torchvision.transforms.RandomErasing`` (arXiv 1708.04896,
    algorithm 1). Where no attempt has h < H and w < W, the rectangle is empty.

    Args:
        sizes: Height and width of each image, integers of shape (B, 2).
        areas: Share of the image's area, shape (B, attempts).
        ratios: Height divided by width, shape (B, attempts).

    Returns:
        Integers of shape (B, 2).

    >>> erased_sizes(torch.tensor([[10, 10]]), torch.tensor([[0.5, 0.16]]), torch.tensor([[4.0, 4.0]]))
    tensor([[8, 2]])
    """
    pixels = sizes.prod(1, keepdim=True) * areas
    attempts = torch.stack([(pixels * ratios).sqrt(), (pixels / ratios).sqrt()], dim=-1).round().long()
    fits = (attempts < sizes[:, None]).all(-1)
    first = fits.int().argmax(1)
    return attempts[torch.arange(len(sizes), device=sizes.device), first] * fits.any(1, keepdim=True)


def random_corners(sizes: Tensor, rectangles: Tensor, uniform: Tensor) -> Tensor:
    """Return upper left pixels so that each position of a rectangle inside its image is equally likely.

    Args:
        sizes: Height and width of each image, integers of shape (B, 2).
        rectangles: Height and width of each rectangle, integers of shape (B, 2), at most those of the image.
        uniform: Random numbers in [0, 1), shape (B, 2).

    Returns:
        Row and column, integers of shape (B, 2).

    >>> random_corners(torch.tensor([[4, 4]]), torch.tensor([[1, 4]]), torch.tensor([[0.99, 0.99]]))
    tensor([[3, 0]])
    """
    places = sizes - rectangles + 1
    return (uniform * places).long().minimum(places - 1)
