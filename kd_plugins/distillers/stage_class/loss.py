"""Losses of the class heads of stages: the classes of the image, and the predictions of deeper stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses.logit import quality_focal
from ...ops.reduction import mean_over_images, to_float
from ...utils.checks import check_choice

TEACHERS = ('deepest', 'next')
"""Stages that teach: the deepest one all others, or each one the stage before it."""


def turned_target(present: Tensor, turn: int, turns: int) -> Tensor:
    r"""Return joint labels of class and rotation (SLA, arXiv 1910.05872, for images with several classes).

    .. math:: y'_{n, \, c R + r} = y_{nc} \; [r = \text{turn}]

    Args:
        present: :math:`y`, 1 for each class that an image has, (N, C).
        turn: Number of quarter turns of the image.
        turns: :math:`R`, number of rotations in use.

    Returns:
        Shape (N, C * R).

    >>> turned_target(torch.tensor([[1.0, 0.0]]), 2, 4).tolist()
    [[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    joint = present.new_zeros(*present.shape, turns)
    joint[..., turn] = present
    return joint.flatten(1)


def presence_loss(stages: Sequence[Tensor], target: Tensor) -> Tensor:
    r"""Return the binary cross-entropy between the stages' logits and the classes of the images.

    .. math:: \frac{1}{S N K} \sum_{s,n,k} BCE(\sigma(z_{snk}), \, y_{nk})

    with the images of all ranks.

    Args:
        stages: Logits :math:`z_s` of each stage, (N, K).
        target: :math:`y`, from 0 to 1, (N, K).

    Returns:
        Shape (), float32 (float64 for float64).

    >>> presence_loss([torch.zeros(1, 2)], torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    logits = to_float(torch.stack(list(stages)))
    losses = F.binary_cross_entropy_with_logits(logits, target.to(logits).expand_as(logits), reduction='none')
    return mean_over_images(losses.mean(dim=(0, 2)))


def stage_loss(stages: Sequence[Tensor], teacher: str = 'deepest', beta: float = 2.0) -> Tensor:
    r"""Return the quality focal loss between each stage and a deeper one.

    .. math:: \frac{1}{(S - 1) N} \sum_{s < S} \sum_{n,k} |\sigma(z_{snk}) - \sigma(z_{t(s)nk})|^\beta \,
        BCE(\sigma(z_{snk}), \, \sigma(z_{t(s)nk}))

    with :math:`t(s) = S`, the deepest stage, or :math:`s + 1`, and the images of all ranks. It is the sum over the
    entries, of which few differ from 0, and no gradient goes to the stage that teaches.

    Args:
        stages: Logits :math:`z_s`, (N, K), the deepest last; at least two.
        teacher: ``'deepest'`` or ``'next'``.
        beta: Exponent of the modulating factor: 0 or >= 1.

    Returns:
        Shape (), float32 (float64 for float64).

    Raises:
        ConfigError: If ``teacher`` is neither.

    >>> stage_loss([torch.zeros(1, 1), torch.full((1, 1), 40.0)])
    tensor(0.1733)
    """
    check_choice('teacher', teacher, TEACHERS)
    shallower = torch.stack(list(stages[:-1]))
    deeper = stages[-1].expand_as(shallower) if teacher == 'deepest' else torch.stack(list(stages[1:]))
    return mean_over_images(quality_focal(shallower, deeper, beta).sum(dim=2).mean(dim=0))
