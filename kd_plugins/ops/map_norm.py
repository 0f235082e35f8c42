"""Normalisation of feature maps over the cells that lie on images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5
"""Added to the variance, as PyTorch's normalisation layers do."""


def _normalized(x: Tensor, valid: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
    weights = x.new_ones(x.shape[0], 1, *x.shape[2:]) if valid is None else valid.to(x.dtype)
    count = weights.sum(dims, keepdim=True) * (x.shape[1] if 1 in dims else 1)
    count = count.clamp(min=1.0)
    centred = (x - (x * weights).sum(dims, keepdim=True) / count) * weights
    variance = centred.square().sum(dims, keepdim=True) / count
    return centred * (variance + eps).rsqrt()


def normalized_images(x: Tensor, valid: Tensor | None = None, eps: float = EPS) -> Tensor:
    r"""Return maps with mean 0 and variance 1 over channels and cells of each image.

    .. math:: \frac{x - \mu_n}{\sqrt{\sigma_n^2 + \epsilon}}

    This is group normalisation with one group and without affine parameters, whose statistics leave out padding.

    Args:
        x: Maps, (N, C, H, W).
        valid: Booleans of shape (N, 1, H, W), False at cells that do not count and whose result is 0; None counts all.
        eps: Added to the variance.

    Returns:
        Shape (N, C, H, W).

    >>> import torch
    >>> x = torch.tensor([1.0, 3.0, 100.0]).view(1, 1, 1, 3)
    >>> normalized_images(x, x < 50).flatten().round(decimals=3).tolist()
    [-1.0, 1.0, 0.0]
    """
    if valid is None:
        return F.group_norm(x, 1, eps=eps)
    return _normalized(x, valid, (1, 2, 3), eps)


def normalized_channels(x: Tensor, valid: Tensor | None = None, eps: float = EPS) -> Tensor:
    r"""Return maps with mean 0 and variance 1 over the cells of each channel of each image.

    .. math:: \frac{x - \mu_{nc}}{\sqrt{\sigma_{nc}^2 + \epsilon}}

    This is instance normalisation without affine parameters, whose statistics leave out padding. A channel with one
    cell becomes 0.

    Args:
        x: Maps, (N, C, H, W).
        valid: Booleans of shape (N, 1, H, W), False at cells that do not count and whose result is 0; None counts all.
        eps: Added to the variance.

    Returns:
        Shape (N, C, H, W).

    >>> import torch
    >>> normalized_channels(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)).flatten().round(decimals=3).tolist()
    [-1.0, 1.0]
    """
    # PyTorch's instance normalisation refuses a map of one cell and an empty batch.
    if valid is None and x.shape[2] * x.shape[3] > 1 and x.numel():
        return F.instance_norm(x, eps=eps)
    return _normalized(x, valid, (2, 3), eps)
