"""Distillation of joint positions as distributions over the bins of each axis (SimCC)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import keypoint_kl
from ...losses.keypoint import REDUCTIONS
from ...registry import MODELS
from ...utils.checks import check_number
from ..base import Batch, Taps
from ..paired import TapPair
from .base import KeypointDistiller, with_student_beta


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
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        pairs = [TapPair.of('x', x, 'teacher_x', teacher_x), TapPair.of('y', y, 'teacher_y', teacher_y)]
        super().__init__(pairs, visible_only, reduction, weight, source, key)
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
        axes = [pair.outputs(student_outputs, teacher_outputs) for pair in self.pairs]
        logits = [student_axis[0] for student_axis, _ in axes]
        targets = [with_student_beta(teacher_axis[0], *self.betas) for _, teacher_axis in axes]
        weights = self.joint_weights(batch, logits[0])
        return {'loss_kpt': keypoint_kl(logits, targets, self.betas[0], weights, self.reduction)}
