"""Distillation of joint positions as distributions over the bins of each axis (SimCC)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import keypoint_kl
from ...losses.keypoint import REDUCTIONS
from ...ops.reduction import to_float
from ...registry import MODELS
from ...utils.checks import check_number
from ..base import Batch, Taps
from ..joint_labels import AXES
from ..paired import TapPair
from ..regions import TAU
from .base import DISTANCE, KeypointDistiller, weighted, with_student_beta


def lowest_peak(axes: Sequence[Tensor], beta: float) -> Tensor:
    """Return the probability of every joint's most probable bin, the lower one of both axes.

    Logits are free up to a constant along an axis, so their height alone is no measure of confidence.

    Args:
        axes: Logits of each axis, shape (N, K, bins), bins >= 1.
        beta: Factor on the logits.

    Returns:
        Shape (N, K).

    >>> lowest_peak([torch.zeros(1, 1, 2), torch.zeros(1, 1, 4)], beta=10.0)
    tensor([[0.2500]])
    """
    peaks = [(to_float(axis) * beta).softmax(dim=-1).amax(dim=-1) for axis in axes]
    return torch.stack(peaks).amin(dim=0)


@MODELS.register_module()
class SimCCDistiller(KeypointDistiller):
    """KL divergence of every joint's distribution along x and y (:func:`kd_plugins.losses.keypoint_kl`).

    Source: DWPose (arXiv 2307.15880). There the teacher's predictions of invisible joints count too.

    Args:
        x: Tap of the logits along x, (N, K, bins): ``'head.cls_x'`` of ``RTMCCHead`` and ``RTMWHead``,
            ``'head.mlp_head_x'`` of ``SimCCHead``.
        y: Tap of the logits along y.
        teacher_x: Tap of the teacher's logits along x; None is the same path.
        teacher_y: Tap of the teacher's logits along y; None is the same path.
        beta: Factor on the logits of both. None takes that of each head's own loss (``loss_module.beta``), so that
            the distributions are those which the heads were trained to give.
        visible_only: See :class:`~kd_plugins.distillers.keypoint.KeypointDistiller`.
        reduction: ``'task'`` keeps the ratio to the task loss in any batch and on any number of ranks; ``'mean'`` is a
            mean over images and joints; ``'reference'`` gives the released value.
        select: The joints that count, see :class:`~kd_plugins.distillers.keypoint.KeypointDistiller`. The score is the
            teacher's probability of the most probable bin, the lower one of both axes (:func:`lowest_peak`).
        trust, tau, distance: See :class:`~kd_plugins.distillers.keypoint.KeypointDistiller`.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    reductions = REDUCTIONS

    def __init__(
        self,
        x: str = 'head.cls_x',
        y: str = 'head.cls_y',
        teacher_x: str | None = None,
        teacher_y: str | None = None,
        beta: float | None = None,
        visible_only: bool = False,
        reduction: str = 'task',
        select: dict[str, Any] | None = None,
        trust: str | None = None,
        tau: float = TAU,
        distance: float = DISTANCE,
        weight: float | dict[str, Any] = 1.0,
        source: str | list[str] = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        pairs = [TapPair.of('x', x, 'teacher_x', teacher_x), TapPair.of('y', y, 'teacher_y', teacher_y)]
        super().__init__(pairs, visible_only, reduction, weight, source, key, select, trust, tau, distance)
        self.beta = None if beta is None else check_number(f'{key}.beta', beta, positive=True)
        self.betas = (self.beta or 1.0, self.beta or 1.0)
        """Factors on the logits of student and teacher, known after :meth:`check_models`."""

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself, and read the heads' own ``beta``."""
        super().check_models(student, teacher)
        if self.beta is not None:
            return
        beta, teacher_beta = (
            getattr(getattr(head, 'loss_module', None), 'beta', None) for head in self.heads(student, teacher)
        )
        if beta is None:
            raise ConfigError(
                f"{self.key}.beta is None, and no module above '{self.pairs[0].student_path}' has a loss_module with a "
                'beta, as KLDiscretLoss has; give the factor that the head applies to its logits, such as beta=10.0'
            )
        self.betas = (float(beta), float(beta if teacher_beta is None else teacher_beta))

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check keypoints and bins."""
        for pair in self.pairs:
            outputs = pair.outputs(student_outputs, teacher_outputs)
            paths = pair.student_path, pair.teacher_path
            for role, path, tensors in zip(('student', 'teacher'), paths, outputs):
                if len(tensors) != 1 or tensors[0].ndim != 3:
                    shapes = [tuple(tensor.shape) for tensor in tensors]
                    raise ConfigError(
                        f"{self.key}.{pair.student_key}: '{path}' of the {role} gives shapes {shapes}; it must give "
                        'one tensor (N, keypoints, bins), as the last layer of a SimCC head does'
                    )
            (_, joints, bins), (_, teacher_joints, teacher_bins) = (tensors[0].shape for tensors in outputs)
            self.check_joints(pair, joints, teacher_joints)
            if bins != teacher_bins:
                raise ConfigError(
                    f'{self.key}.{pair.student_key}: the teacher predicts {teacher_bins} bins where the student '
                    f'predicts {bins}; use a teacher with the same input_size and simcc_split_ratio in its codec'
                )

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_kpt``."""
        logits = [student_outputs[pair.student_key][0] for pair in self.pairs]
        axes = [[tensors[0] for tensors in pair.taught(teacher_outputs)] for pair in self.pairs]
        teachers = [[with_student_beta(axis, *self.betas) for axis in teacher] for teacher in zip(*axes)]
        target, trust = self.target(teachers, self.betas[0])
        weights = self.right_weights(self.joint_weights(batch, logits[0]), target, AXES, batch)
        counted = self.counted(lowest_peak(target, self.betas[0]), weights) if self.regions.active else None
        weights = weighted(weights, trust)
        return {'loss_kpt': keypoint_kl(logits, target, self.betas[0], weights, self.reduction, counted)}
