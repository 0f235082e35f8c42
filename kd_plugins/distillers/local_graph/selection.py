"""Selection and weights of the points that teach."""

from __future__ import annotations

import torch
from torch import Tensor

from ...ops.reduction import to_float


def channel_max(features: Tensor) -> Tensor:
    """Return the highest channel of every point (arXiv 2205.11098, for points and BEV maps).

    Args:
        features: (n, C).

    Returns:
        (n,).

    >>> channel_max(torch.tensor([[1.0, -5.0], [2.0, 3.0]]))
    tensor([1., 3.])
    """
    return features.amax(dim=-1) if features.numel() else features.new_zeros(features.shape[:-1])


def feature_norm(features: Tensor) -> Tensor:
    """Return the Euclidean norm of every point's feature.

    Args:
        features: (n, C).

    Returns:
        (n,).

    >>> feature_norm(torch.tensor([[3.0, -4.0]]))
    tensor([5.])
    """
    return torch.linalg.vector_norm(features, dim=-1)


def class_score(logits: Tensor) -> Tensor:
    """Return the highest class probability of every point, one sigmoid per class (and anchor).

    Args:
        logits: (n, C).

    Returns:
        (n,), in [0, 1].

    >>> class_score(torch.tensor([[0.0, -2.0]]))
    tensor([0.5000])
    """
    return channel_max(to_float(logits)).sigmoid()


def top_points(importance: Tensor, number: int) -> Tensor:
    """Return the indices of the most important points; ties are broken arbitrarily.

    Args:
        importance: Importance of each point, (..., n).
        number: N; of fewer points, all are returned.

    Returns:
        (..., min(N, n)).

    >>> top_points(torch.tensor([0.1, 0.9, 0.5]), 2)
    tensor([1, 2])
    >>> top_points(torch.tensor([0.1]), 2)
    tensor([0])
    """
    return importance.topk(min(number, importance.shape[-1])).indices


def reweighting(importance: Tensor, temperature: float | None, standardize: bool = True) -> Tensor:
    r"""Return the weights of a sample's points, which sum to 1 (arXiv 2205.11098, the reweighted learning strategy).

    .. math:: \phi = softmax(a / \tau)

    The sum, and therefore the size of the loss, does not depend on the number of points or samples.

    Args:
        importance: Importance :math:`a` of the selected points, (..., N).
        temperature: :math:`\tau` > 0; None gives every point the weight 1 / N.
        standardize: Whether to divide :math:`a` by its standard deviation first, so that a temperature means the same
            for points per voxel, norms and probabilities.

    Returns:
        (..., N), without gradient.

    >>> reweighting(torch.tensor([0.0, 2.0]), temperature=1.0)
    tensor([0.1192, 0.8808])
    >>> reweighting(torch.tensor([3.0, 3.0]), temperature=1.0)
    tensor([0.5000, 0.5000])
    """
    importance = to_float(importance.detach())
    count = max(importance.shape[-1], 1)
    if temperature is None:
        return torch.full_like(importance, 1.0 / count)
    centered = importance - importance.sum(dim=-1, keepdim=True) / count
    if standardize:
        deviation = (centered.square().sum(dim=-1, keepdim=True) / count).sqrt()
        # Rounding errors between equal numbers must not become weights.
        noise = 1e-6 * importance.abs().sum(dim=-1, keepdim=True) / count
        centered = torch.where(deviation > noise, centered / deviation.clamp(min=1e-12), 0.0)
    return (centered / temperature).softmax(dim=-1)


def effective_support(weights: Tensor) -> Tensor:
    r"""Return the effective number of points that share the weight: :math:`(\sum \phi)^2 / \sum \phi^2`.

    Args:
        weights: :math:`\phi` of each sample, (..., N).

    Returns:
        From 1 to N, or 0 without points; shape (...).

    >>> effective_support(torch.tensor([0.25, 0.25, 0.25, 0.25])), effective_support(torch.tensor([1.0, 0.0]))
    (tensor(4.), tensor(1.))
    """
    return weights.sum(dim=-1).square() / weights.square().sum(dim=-1).clamp(min=1e-12)
