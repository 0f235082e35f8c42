"""Mixtures of two normal distributions of scores, one for each class, and the threshold between their components."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Mixture(NamedTuple):
    """Two normal distributions for each of C classes; each field has shape (C, 2)."""

    weights: Tensor
    means: Tensor
    variances: Tensor


def log_densities(scores: Tensor, mixture: Mixture) -> Tensor:
    """Return the logarithm of weight times density of each component.

    Args:
        scores: Shape (C, N).
        mixture: C mixtures.

    Returns:
        Shape (C, N, 2).
    """
    weights, means, variances = (field[:, None] for field in mixture)
    squares = (scores[..., None] - means).square() / variances
    return weights.log() - 0.5 * (math.log(2 * math.pi) + variances.log() + squares)


def fit_mixture(
    scores: Tensor, valid: Tensor, tolerance: float = 1e-3, max_steps: int = 100, floor: float = 1e-6
) -> Mixture:
    r"""Fit a mixture to the scores of each class by expectation maximisation.

    The components begin at the smallest and the greatest score, with variance 1 and equal weights. A class is done when
    its mean log-likelihood changes by less than ``tolerance``. With responsibilities :math:`r_{ik}` of the components,
    a step sets :math:`n_k = \sum_i r_{ik}`, :math:`\mu_k = \sum_i r_{ik} s_i / n_k`,
    :math:`\sigma_k^2 = \sum_i r_{ik} (s_i - \mu_k)^2 / n_k + \text{floor}` and :math:`\pi_k = n_k / \sum_k n_k`.
    Results are those of ``sklearn.mixture.GaussianMixture`` with these initial values.

    Args:
        scores: Shape (C, N).
        valid: Which entries count, shape (C, N); at least one in each class.
        tolerance: Smallest change of the mean log-likelihood.
        max_steps: Largest number of steps.
        floor: Added to each variance.

    Returns:
        C mixtures in float64.
    """
    values, mask = scores.double(), valid.double()[..., None]
    low = values.masked_fill(~valid, torch.inf).amin(dim=1)
    high = values.masked_fill(~valid, -torch.inf).amax(dim=1)
    means = torch.stack([low, high], dim=1)
    mixture = Mixture(torch.full_like(means, 0.5), means, torch.ones_like(means))
    values = values.masked_fill(~valid, 0.0)
    counts = mask.sum(dim=(1, 2))
    likelihood = torch.full_like(counts, -torch.inf)
    active = torch.ones_like(counts, dtype=torch.bool)
    tiny = 10 * torch.finfo(torch.float64).eps
    for _ in range(max_steps):
        joint = log_densities(values, mixture)
        total = joint.logsumexp(dim=-1)
        shares = (joint - total[..., None]).exp() * mask
        sums = shares.sum(dim=1) + tiny
        means = (shares * values[..., None]).sum(dim=1) / sums
        spread = (shares * (values[..., None] - means[:, None]).square()).sum(dim=1)
        step = Mixture(sums / sums.sum(dim=1, keepdim=True), means, spread / sums + floor)
        # A class that is done keeps its mixture, so its result does not depend on the others.
        mixture = Mixture(*(torch.where(active[:, None], new, old) for new, old in zip(step, mixture)))
        mean = (total * mask[..., 0]).sum(dim=1) / counts
        active = active & ~((mean - likelihood).abs() < tolerance)
        likelihood = mean
        if not active.any():
            break
    return mixture


def upper_mode(scores: Tensor, valid: Tensor, mixture: Mixture) -> Tensor:
    """Return the score of greatest density among those that belong to the component of the greater mean.

    It is the threshold of Consistent-Teacher (arXiv 2209.01589, section 3.3).

    Args:
        scores: Shape (C, N).
        valid: Which entries count, shape (C, N).
        mixture: The mixtures that were fitted to them.

    Returns:
        Shape (C,), NaN where no score belongs to that component.

    >>> scores = torch.tensor([[0.1, 0.1, 0.12, 0.8, 0.9, 0.91, 0.92]])
    >>> valid = torch.ones_like(scores, dtype=torch.bool)
    >>> upper_mode(scores, valid, fit_mixture(scores, valid))
    tensor([0.8000], dtype=torch.float64)
    """
    values = scores.double()
    joint = log_densities(values, mixture)
    upper = mixture.means.argmax(dim=1)
    members = valid & (joint.argmax(dim=-1) == upper[:, None])
    density = joint.logsumexp(dim=-1).masked_fill(~members, -torch.inf)
    best = values.gather(1, density.argmax(dim=1, keepdim=True))[:, 0]
    return best.masked_fill(~members.any(dim=1), torch.nan)
