"""Losses on keypoints as distributions over bins (SimCC) or over pixels (heatmaps)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..ops.reduction import global_mean, mean_over_images, mean_per_image, to_float, weighted_mean
from ..registry import MODELS
from ..utils.checks import check_choice
from .logit import softmax_kl

REDUCTIONS = ('task', 'mean', 'reference')


def mean_over_joints(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean over the joints and over the images of all ranks; every rank must call it.

    A joint of weight 0 contributes 0 to the sum and 1 to the count, as in MMPose's ``KeypointMSELoss`` and ``RLELoss``,
    so that the ratio to them does not depend on the number of visible joints.

    Args:
        values: One value per image and joint, shape (N, K); ranks may hold different N, also 0.
        weight: Weights of the same shape, or ``None``; no gradient goes through them.

    Returns:
        Shape ().

    >>> mean_over_joints(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.0]]))
    tensor(0.5000)
    """
    if weight is not None:
        values = values * weight.detach().to(values.dtype)
    return mean_over_images(mean_per_image(values))


def keypoint_kl(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    beta: float,
    weight: Tensor | None = None,
    reduction: str = 'task',
    counted: Tensor | None = None,
) -> Tensor:
    r"""Return the KL divergence of every joint's distribution along every axis.

    .. math:: D_{nka} = KL(softmax(\beta \, t_{nka}) \,\|\, softmax(\beta \, s_{nka}))

    (DWPose, arXiv 2307.15880, logit-based distillation; ``KDLoss`` of mmpose/models/losses/logit_dis_loss.py.) With
    :math:`B_a` bins on axis a, K joints and N images, it is reduced as

    ============= =============================================================================================
    ``task``      :math:`\frac{1}{K} \sum_{nka} w_{nk} D_{nka} / B_a`, summed over this rank's images as in
                  MMPose's ``KLDiscretLoss``. Task loss and distillation keep their ratio in any batch and on any
                  number of ranks.
    ``mean``      :math:`\frac{1}{NK} \sum_{nka} w_{nk} D_{nka}`, N the images of all ranks; every rank must call.
    ``reference`` :math:`\frac{1}{NK} \sum_{nka} w_{nk} D_{nka}`, N the images of this rank: the released value if
                  ``weight`` is None, since the release takes a weight and does not use it.
    ============= =============================================================================================

    With ``counted``, the other joints are no part of the mean: :math:`NK` is the sum of :math:`w_{nk}` over the counted
    joints of all ranks, at least 1, and ``task`` is this mean times the number of images of a rank. So few confident
    joints do not make the loss small, and ``task`` with all joints counted is ``task``.

    Args:
        student: Logits of each axis, shape (N, K, bins of that axis).
        teacher: Logits of the same shapes; no gradient goes through them.
        beta: Factor on both logits, > 0. It is an inverse temperature that belongs to the head, so the loss has no
            factor of its square.
        weight: Weight of each joint, shape (N, K); None gives all joints the weight 1.
        reduction: ``'task'``, ``'mean'`` or ``'reference'``.
        counted: Booleans of shape (N, K), the joints that count; None: all. Every rank must call.

    Returns:
        Shape (), float32 (float64 for float64), ``0 * sum`` where every weight is 0 or there is no image.

    Raises:
        ConfigError: If ``reduction`` is none of these, or ``'reference'`` with ``counted``.

    >>> x, y = torch.zeros(1, 1, 2), torch.zeros(1, 1, 4)
    >>> keypoint_kl([x, y], [torch.tensor([[[0.0, 9.0]]]), y], beta=10.0)
    tensor(0.3466)
    >>> keypoint_kl([x, y], [torch.tensor([[[0.0, 9.0]]]), y], beta=10.0, reduction='mean')
    tensor(0.6931)
    """
    check_choice('reduction', reduction, REDUCTIONS)
    # Float32 before the factor: 10 times a large logit exceeds the range of float16.
    axes = [
        softmax_kl(to_float(s) * beta, to_float(t) * beta, temperature=1.0, dim=-1) for s, t in zip(student, teacher)
    ]
    if reduction == 'task':
        axes = [axis / max(s.shape[-1], 1) for axis, s in zip(axes, student)]
    joints = torch.stack(axes).sum(dim=0)
    if counted is not None:
        if reduction == 'reference':
            raise ConfigError(
                "reduction is 'reference', which counts all joints; use 'task' or 'mean' with a selection"
            )
        weights = torch.ones_like(joints) if weight is None else weight
        mean = weighted_mean(joints, weights * counted, eps=1.0)
        return mean * global_mean(mean.new_full((), float(len(joints)))) if reduction == 'task' else mean
    if reduction == 'mean':
        return mean_over_joints(joints, weight)
    if weight is not None:
        joints = joints * weight.detach().to(joints.dtype)
    images = joints.shape[0] if reduction == 'reference' else 1
    return joints.sum() / max(images * joints.shape[1], 1)


@MODELS.register_module()
class KeypointKLLoss(nn.Module):
    """Module form of :func:`keypoint_kl`.

    Args:
        beta: Factor on both logits.
        reduction: ``'task'``, ``'mean'`` or ``'reference'``.

    Raises:
        ConfigError: If ``reduction`` is none of these.
    """

    def __init__(self, beta: float = 10.0, reduction: str = 'task') -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        self.beta = beta
        self.reduction = reduction

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], weight: Tensor | None = None) -> Tensor:
        """See :func:`keypoint_kl`."""
        return keypoint_kl(student, teacher, self.beta, weight, self.reduction)
