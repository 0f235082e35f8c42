"""Images for a network with another normalisation, size and patch size than the one they were prepared for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .normalisation import Normalisation
from .rectangles import picture_sizes, rectangle_mask


def renormalise(inputs: Tensor, samples: Sequence[Any] | None, given: Normalisation, wanted: Normalisation) -> Tensor:
    r"""Return a batch of images with another normalisation, and 0 in its padding.

    .. math:: x' = \frac{\pi(\sigma x + \mu) - \mu'}{\sigma'}

    with the mean :math:`\mu` and the deviation :math:`\sigma` of both networks, and :math:`\pi` the change of the
    order of the channels, where it differs.

    Args:
        inputs: Preprocessed images, (B, C, H, W), padded below and to the right of the pictures.
        samples: Data samples of the images, which give the size of each picture; None where nothing is padded.
        given: Normalisation of the images.
        wanted: Normalisation of the result.

    Returns:
        Images of the same shape in float32.

    >>> from torch import ones
    >>> given = Normalisation(100 * ones(1, 1, 1), 50 * ones(1, 1, 1), bgr=False)
    >>> wanted = Normalisation(0 * ones(1, 1, 1), 255 * ones(1, 1, 1), bgr=True)
    >>> renormalise(torch.tensor([-2.0, 0.0, 3.1]).view(1, 3, 1, 1), None, given, wanted).flatten()
    tensor([1.0000, 0.3922, 0.0000])
    """
    with torch.autocast(inputs.device.type, enabled=False):
        images = wanted.redo(given.undo(inputs))
    if samples is None:
        return images
    sizes = picture_sizes(inputs, samples)
    shape = (inputs.shape[2], inputs.shape[3])
    if bool((sizes == torch.tensor(shape)).all()):
        return images
    sizes = sizes.to(inputs.device, non_blocking=True)
    return images.where(rectangle_mask(torch.zeros_like(sizes), sizes, shape), 0.0)


def network_size(size: int, pool: int, patch: int) -> int:
    """Return the multiple of ``patch`` that is nearest to ``size / pool``, and at least ``patch``.

    >>> network_size(640, 2, 16), network_size(800, 2, 14), network_size(9, 1, 16)
    (320, 406, 16)
    """
    return max(1, (2 * size + pool * patch) // (2 * pool * patch)) * patch


def fit_images(images: Tensor, pool: int = 1, patch: int = 1) -> Tensor:
    """Return images at a size that a network of patches can read, with the whole image in its grid of patches.

    A size that is a multiple of ``pool * patch`` is averaged over squares of ``pool`` pixels. Any other is interpolated
    to the nearest multiple of ``patch``. Padding to a multiple would move the grid against the maps of the student,
    which cover the unpadded image.

    Args:
        images: (B, C, H, W).
        pool: Factor by which the images become smaller.
        patch: Side of a patch in pixels.

    >>> fit_images(torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]), pool=2)
    tensor([[[[3.]]]])
    >>> fit_images(torch.zeros(1, 3, 240, 320), pool=2, patch=14).shape
    torch.Size([1, 3, 126, 154])
    """
    height, width = (network_size(side, pool, patch) for side in images.shape[2:])
    if (height * pool, width * pool) == tuple(images.shape[2:]):
        return images if pool == 1 else F.avg_pool2d(images, pool)
    return F.interpolate(images, (height, width), mode='bilinear', align_corners=False, antialias=True)
