"""Losses of the second stage of a two-stage detector: boxes and masks of the same RoIs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..ops.reduction import mean_over_images, mean_per_image, to_float, weighted_mean


def roi_box_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    r"""Return the smooth L1 distance of box deltas, by the weight of each RoI.

    .. math:: \frac{1}{Z} \sum_r w_r \sum_{k=1}^{4} smooth_{L1}(\delta^s_{rk} - \delta^t_{rk}), \quad
        Z = \max\Big(\sum_r w_r, 1\Big)

    with :math:`Z` summed over all ranks, and :math:`smooth_{L1}` from Fast R-CNN (arXiv 1504.08083, eq. 3), quadratic
    below 1. Every rank must call it.

    Args:
        student: Deltas of the class that counts, in the unit of the box coder, shape (R, 4).
        teacher: Deltas of the same shape; no gradient goes through them.
        weight: :math:`w_r` >= 0, shape (R,), the teacher's probability of the class and 0 for background.

    Returns:
        Shape (); ``0 * sum`` where every weight is 0.

    >>> import torch
    >>> roi_box_loss(torch.zeros(2, 4), torch.full((2, 4), 2.0), torch.tensor([1.0, 0.0]))
    tensor(6.)
    """
    distance = F.smooth_l1_loss(to_float(student), to_float(teacher.detach()), reduction='none').sum(dim=-1)
    return weighted_mean(distance, weight, eps=1.0)


def roi_mask_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Return the divergence of the foreground probability of every pixel, as a mean over the RoIs of all ranks.

    .. math:: \mathrm{mean}_{r, p} \, KL\big(\sigma(t_{rp}) \,\|\, \sigma(s_{rp})\big)

    It is the binary cross entropy with the teacher's probability as target, less what remains where both are equal.
    Every rank must call it.

    Args:
        student: Mask logits of the class that counts, shape (R, H, W).
        teacher: Logits of the same shape; no gradient goes through them.

    Returns:
        Shape (); ``0 * sum`` without RoIs.

    >>> import torch
    >>> roi_mask_loss(torch.zeros(1, 1, 2), torch.tensor([[[0.0, 50.0]]]))
    tensor(0.3466)
    """
    logits = to_float(teacher.detach())
    target = logits.sigmoid()
    cross, own = (F.binary_cross_entropy_with_logits(x, target, reduction='none') for x in (to_float(student), logits))
    return mean_over_images(mean_per_image(cross - own))
