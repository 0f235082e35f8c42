"""Dice loss and cross-entropy of a segmentation, from sums over positions that can be taken part by part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..ops.reduction import global_normalizer, to_float
from ..registry import MODELS
from ..utils.checks import check_number


class SegmentationSums(NamedTuple):
    """Sums over a set of positions from which Dice and cross-entropy follow.

    The sums of two disjoint sets add up to the sums of their union.
    """

    intersection: Tensor
    """Sum of the probability of the true class, by class, (..., N, C)."""
    predicted: Tensor
    """Sum of the probability of each class, (..., N, C)."""
    true: Tensor
    """Number of positions of each class, (N, C)."""
    cross_entropy: Tensor
    """Sum of the cross-entropy, (..., N)."""


def class_masks(labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return a mask of the positions of each class.

    Args:
        labels: Integers, (N, *spatial).
        num_classes: C; a label outside [0, C) belongs to no class.
        ignore_index: Label that belongs to no class, even inside [0, C).

    Returns:
        Boolean, (N, C, *spatial).

    >>> class_masks(torch.tensor([[0, 1, 255]]), num_classes=2).int().tolist()
    [[[1, 0, 0], [0, 1, 0]]]
    """
    classes = torch.arange(num_classes, device=labels.device).view(-1, *[1] * (labels.ndim - 1))
    return (labels[:, None] == classes) & (labels != ignore_index)[:, None]


def segmentation_sums(logits: Tensor, masks: Tensor) -> SegmentationSums:
    """Return the sums over positions that :func:`dice_cross_entropy` needs; positions of no class are left out.

    Args:
        logits: (..., N, C, *spatial), any number of maps for the same labels.
        masks: From :func:`class_masks`, (N, C, *spatial).

    >>> sums = segmentation_sums(torch.zeros(1, 2, 3), class_masks(torch.tensor([[0, 1, 255]]), 2))
    >>> sums.intersection.tolist(), sums.predicted.tolist(), sums.true.tolist()
    ([[0.5, 0.5]], [[1.0, 1.0]], [[1.0, 1.0]])
    """
    spatial = masks.ndim - 2
    log_p = to_float(logits).flatten(logits.ndim - spatial).log_softmax(dim=-2)
    p = log_p.exp()
    weight = masks.flatten(2).to(p.dtype)
    return SegmentationSums(
        intersection=(p * weight).sum(dim=-1),
        predicted=(p * weight.sum(dim=1, keepdim=True)).sum(dim=-1),
        true=weight.sum(dim=-1),
        cross_entropy=-(log_p * weight).sum(dim=(-2, -1)),
    )


def dice_cross_entropy(
    sums: SegmentationSums, dice_weight: float = 1.0, ce_weight: float = 1.0, smooth: float = 1e-5
) -> Tensor:
    r"""Return the weighted sum of the Dice loss and the cross-entropy.

    .. math:: \lambda_D \frac{1}{N C} \sum_{n,c} \Big(1 - \frac{2 I_{nc} + \epsilon}{P_{nc} + G_{nc} + \epsilon}\Big)
        + \lambda_{CE} \frac{1}{|V|} \sum_{v \in V} -\log p_{y_v}(v)

    with the sums :math:`I`, :math:`P`, :math:`G` over the positions of an image that have a class, and :math:`V` those
    positions of all images. The Dice loss is that of V-Net (arXiv 1606.04797, section 3) in the form of MONAI's
    ``DiceLoss(softmax=True, to_onehot_y=True)``: a mean over images and classes, background included. Classes that
    are absent from an image take part as well, and penalize any prediction of them.

    Args:
        sums: From :func:`segmentation_sums`.
        dice_weight: :math:`\lambda_D`.
        ce_weight: :math:`\lambda_{CE}`.
        smooth: :math:`\epsilon` > 0.

    Returns:
        Shape (...), means over the images and positions of all ranks; every rank must call it.

    >>> sums = segmentation_sums(torch.zeros(1, 2, 4), class_masks(torch.tensor([[0, 1, 1, 1]]), 2))
    >>> dice_cross_entropy(sums, ce_weight=0.0, smooth=1e-9), dice_cross_entropy(sums, dice_weight=0.0)
    (tensor(0.5333), tensor(0.6931))
    """
    overlap = (2 * sums.intersection + smooth) / (sums.predicted + sums.true + smooth)
    counted = torch.stack([sums.true.sum(), sums.true.new_full((), len(sums.true))])
    positions, images = global_normalizer(counted, minimum=1.0)
    dice = (1 - overlap).mean(dim=-1).sum(dim=-1) / images
    return dice_weight * dice + ce_weight * sums.cross_entropy.sum(dim=-1) / positions


@MODELS.register_module()
class DiceCELoss(nn.Module):
    """Dice and cross-entropy of logits and labels, see :func:`dice_cross_entropy`.

    Args:
        dice_weight: Weight of the Dice loss.
        ce_weight: Weight of the cross-entropy.
        ignore_index: Label of positions that are left out.
        smooth: Added to numerator and denominator of the Dice fraction.

    >>> round(float(DiceCELoss()(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))), 3)
    1.226
    """

    def __init__(
        self, dice_weight: float = 1.0, ce_weight: float = 1.0, ignore_index: int = 255, smooth: float = 1e-5
    ) -> None:
        super().__init__()
        self.dice_weight = check_number('DiceCELoss.dice_weight', dice_weight, positive=False)
        self.ce_weight = check_number('DiceCELoss.ce_weight', ce_weight, positive=False)
        self.ignore_index = ignore_index
        self.smooth = check_number('DiceCELoss.smooth', smooth, positive=True, example=1e-5)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, shape (), of logits (N, C, *spatial) and labels (N, *spatial)."""
        sums = segmentation_sums(logits, class_masks(labels, logits.shape[1], self.ignore_index))
        return dice_cross_entropy(sums, self.dice_weight, self.ce_weight, self.smooth)
