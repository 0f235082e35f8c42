"""Rectangles in a batch of images: pictures within padding, masks, CutMix, and random erasing as in torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def rectangle_mask(
    corners: Tensor, sizes: Tensor, shape: tuple[int, int], image: tuple[int, int] | None = None
) -> Tensor:
    """Return which cells of a map lie in a rectangle of its image.

    A cell counts by its first pixel, as it does where labels of pixels are read for a map.

    Args:
        corners: Row and column of the upper left pixel for each image, integers of shape (B, 2).
        sizes: Height and width in pixels, integers of shape (B, 2).
        shape: Height and width of the map.
        image: Height and width of the images in pixels; None where a cell is a pixel.

    Returns:
        Booleans of shape (B, 1, H, W).

    >>> rectangle_mask(torch.tensor([[0, 1]]), torch.tensor([[1, 2]]), (2, 3)).int()
    tensor([[[[0, 1, 1],
              [0, 0, 0]]]], dtype=torch.int32)
    >>> rectangle_mask(torch.tensor([[0, 4]]), torch.tensor([[8, 8]]), (2, 3), image=(8, 12)).int()
    tensor([[[[0, 1, 1],
              [0, 1, 1]]]], dtype=torch.int32)
    """
    inside = []
    for dim in (0, 1):
        place = torch.arange(shape[dim], device=corners.device)
        if image is not None:
            place = place * image[dim] // shape[dim]
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


def paste_previous(maps: Tensor, corners: Tensor, sizes: Tensor, image: tuple[int, int]) -> Tensor:
    r"""Return maps in which a rectangle is that of the previous image of the batch, and of the last one for the first.

    .. math:: x'_i = m_i \, x_{i-1} + (1 - m_i) \, x_i

    where :math:`m_i` is 1 in the rectangle of image i (CutMix, arXiv 1905.04899). Maps of different strides are mixed
    alike, and what is computed cell by cell commutes with it: the argmax of mixed logits is the mixed argmax.

    Args:
        maps: Images or maps of them, shape (B, C, H, W).
        corners: Row and column of the upper left pixel of each rectangle, integers of shape (B, 2).
        sizes: Height and width of the rectangles in pixels, 0 for none, integers of shape (B, 2).
        image: Height and width of the images in pixels.

    >>> maps = torch.tensor([[[[1, 2]]], [[[3, 4]]]])
    >>> paste_previous(maps, torch.tensor([[0, 1], [0, 0]]), torch.tensor([[1, 1], [0, 0]]), (1, 2)).flatten(1).tolist()
    [[1, 4], [3, 4]]
    """
    shape = (maps.shape[2], maps.shape[3])
    inside = rectangle_mask(corners.to(maps.device), sizes.to(maps.device), shape, image)
    return maps.roll(1, 0).where(inside, maps)


def picture_sizes(inputs: Tensor, samples: Sequence[Any] | None) -> Tensor:
    """Return height and width of each picture without its padding, which lies below and to the right of it.

    MMDetection and MMSegmentation keep this size in ``img_shape``. In MMPose, ``img_shape`` is the size of the file,
    and ``pad_shape`` that of the picture; its samples have ``input_size``.

    Args:
        inputs: Preprocessed images, (B, C, H, W).
        samples: Data samples, whose ``metainfo`` has the sizes, or None where there are none.

    Returns:
        Integers of shape (B, 2), on the CPU; those of the input where a size is unknown.
    """
    height, width = inputs.shape[-2:]
    sizes = []
    for index in range(len(inputs)):
        sample = samples[index] if samples is not None and index < len(samples) else None
        metainfo = getattr(sample, 'metainfo', {})
        shape = metainfo.get('pad_shape' if metainfo.get('input_size') is not None else 'img_shape')
        known = (height, width) if shape is None else shape
        sizes.append((min(int(known[0]), height), min(int(known[1]), width)))
    return torch.tensor(sizes, dtype=torch.long).view(-1, 2)
