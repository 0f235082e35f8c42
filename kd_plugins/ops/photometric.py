"""Photometric operations on a batch of images: colour jitter, grey and blur, with one parameter for each image.

Images have shape (B, C, H, W) and values in [0, 1], with channels in the order R, G, B where colour matters. Results
are clamped to [0, 1]. The definitions are those of ``torchvision.transforms.functional``, also found in kornia under
other names. Mean and blur can be restricted to the valid area of padded images.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the luma of ITU-R BT.601, which Pillow, kornia and, rounded, torchvision use."""


def _of_image(values: Tensor, images: Tensor) -> Tensor:
    """Return one value of each image in the shape (B, 1, 1, 1) and with device and dtype of the images."""
    return values.to(images).view(-1, 1, 1, 1)


def blend(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    r"""Return :math:`\operatorname{clamp}(f x + (1 - f) y, 0, 1)`; a factor above 1 moves away from ``others``.

    Args:
        images: Images x, (B, C, H, W).
        others: Images y, any shape that broadcasts to that of ``images``.
        factors: Factor f of each image, shape (B,).

    >>> blend(torch.full((1, 1, 1, 1), 0.5), torch.zeros(1), torch.tensor([1.5])).item()
    0.75
    """
    factors = _of_image(factors, images)
    return (factors * images + (1 - factors) * others).clamp(0, 1)


def luma(images: Tensor) -> Tensor:
    """Return 0.299 R + 0.587 G + 0.114 B of shape (B, 1, H, W); for another number of channels, their mean.

    Args:
        images: Images, (B, C, H, W).

    >>> luma(torch.ones(1, 3, 1, 1) * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).item()
    0.29899999499320984
    """
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def grey(images: Tensor) -> Tensor:
    """Return images whose three channels are their luma.

    Args:
        images: Images in the order R, G, B, (B, 3, H, W).
    """
    return luma(images).expand_as(images).clamp(0, 1)


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Return images blended with black: ``clamp(f x, 0, 1)``.

    Args:
        images: Images, (B, C, H, W).
        factors: Factor of each image, shape (B,); 1 changes nothing.
    """
    return blend(images, images.new_zeros(()), factors)


def contrast(images: Tensor, factors: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return images blended with their mean luma.

    Args:
        images: Images, (B, C, H, W).
        factors: Factor of each image, shape (B,); 1 changes nothing.
        valid: Pixels that the mean counts, booleans of shape (B, 1, H, W); None counts all.
    """
    values = luma(images)
    if valid is None:
        mean = values.mean((1, 2, 3), keepdim=True)
    else:
        count = valid.sum((1, 2, 3), keepdim=True).clamp(min=1)
        mean = values.where(valid, values.new_zeros(())).sum((1, 2, 3), keepdim=True) / count
    return blend(images, mean, factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Return images blended with their luma.

    Args:
        images: Images in the order R, G, B, (B, 3, H, W).
        factors: Factor of each image, shape (B,); 0 gives grey and 1 changes nothing.
    """
    return blend(images, luma(images), factors)


def hue(images: Tensor, shifts: Tensor) -> Tensor:
    r"""Return images whose hue in HSV is shifted.

    With V = max(R, G, B), the chroma C = V - min(R, G, B) and the hue h in [0, 6), a channel is

    .. math:: V - C \max(0, \min(k_n, 4 - k_n, 1)), \quad k_n = (n + h) \bmod 6

    for n = 5 (R), 3 (G) and 1 (B) (A. R. Smith, Color gamut transform pairs, SIGGRAPH 1978, with the three cases
    written as one).

    Args:
        images: Images in the order R, G, B, (B, 3, H, W).
        shifts: Shift of each image in turns of the colour circle, shape (B,); 0.5 gives the opposite hue.

    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> hue(red, torch.tensor([1 / 3])).flatten().round(decimals=4).abs().tolist()
    [0.0, 1.0, 0.0]
    """
    value, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = value - low
    red, green, blue = images.split(1, dim=1)
    scale = chroma.where(chroma > 0, chroma.new_ones(()))
    angle = torch.where(
        value == red,
        (green - blue) / scale,
        torch.where(value == green, (blue - red) / scale + 2, (red - green) / scale + 4),
    )
    angle = angle + 6 * _of_image(shifts, images)
    k = (angle + images.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)).remainder(6)
    return (value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)).clamp(0, 1)


def gaussian_kernels(sigmas: Tensor, radius: int) -> Tensor:
    r"""Return sampled Gaussians :math:`\exp(-x^2 / 2 \sigma^2)`, x from -radius to radius, each with the sum 1.

    Args:
        sigmas: Standard deviations in pixels, shape (B,); 0 gives 1 in the middle.
        radius: Pixels on each side.

    Returns:
        Shape (B, 2 * radius + 1).

    >>> gaussian_kernels(torch.tensor([0.0, 1.0]), 1)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.2741, 0.4519, 0.2741]])
    """
    x = torch.arange(-radius, radius + 1, device=sigmas.device, dtype=sigmas.dtype)
    return (-0.5 * (x / sigmas.clamp(min=1e-3)[:, None]) ** 2).softmax(1)


def gaussian_blur(images: Tensor, sigmas: Tensor, radius: int, sizes: Tensor | None = None) -> Tensor:
    """Return images convolved with a Gaussian in both directions, mirrored at their edges without the edge pixel.

    Args:
        images: Images, (B, C, H, W).
        sigmas: Standard deviation for each image in pixels, shape (B,).
        radius: Pixels of the kernel on each side, 3 sigma or more; the kernel size is ``2 * radius + 1``.
        sizes: Height and width of the valid area of each image, from its upper left corner, integers of shape (B, 2).
            The edges are those of this area; pixels outside hold no meaningful value. None stands for the whole image.
    """
    kernels = gaussian_kernels(sigmas.to(images), radius)
    for dim in (2, 3):
        length = images.shape[dim]
        lengths = images.new_full((len(images),), length) if sizes is None else sizes[:, dim - 2].to(images.device)
        place = _mirrored(torch.arange(-radius, length + radius, device=images.device), lengths.long())
        shape = [len(images), 1, 1, 1]
        shape[dim] = length + 2 * radius
        whole = [*images.shape]
        whole[dim] = shape[dim]
        padded = images.gather(dim, place.view(shape).expand(whole))
        # A sum of shifted images has the same rounding on all devices; a convolution may run in TF32.
        images = torch.zeros_like(images)
        for tap, weight in enumerate(kernels.unbind(1)):
            images.addcmul_(padded.narrow(dim, tap, length), weight.view(-1, 1, 1, 1))
    return images.clamp(0, 1)


def _mirrored(places: Tensor, lengths: Tensor) -> Tensor:
    """Return the index of the pixel for places outside a row of pixels that is mirrored at both ends, shape (B, P)."""
    period = (2 * (lengths - 1)).clamp(min=1)[:, None]
    wrapped = places[None].remainder(period)
    return torch.minimum(wrapped, period - wrapped)
