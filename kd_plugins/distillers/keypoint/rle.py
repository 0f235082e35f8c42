"""Distillation of regressed joints and their predicted spread (RLE)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import laplace_kl_loss
from ...registry import MODELS
from ..base import Batch, Taps
from ..paired import TapPair
from .base import KeypointDistiller


@MODELS.register_module()
class RLEDistiller(KeypointDistiller):
    """KL divergence of Laplace distributions of every coordinate (:func:`kd_plugins.losses.laplace_kl_loss`).

    ``RLEHead`` predicts for each joint a position and a spread, (x, y, sigma_x, sigma_y) with a sigmoid on the spreads.
    They are location and scale of the Laplace distribution from which ``RLELoss`` starts (arXiv 2107.11291). A flow
    learns how real errors differ from it; it is used in training only and is not distilled.

    Args:
        regression: Tap of the last layer, (N, 4 * K).
        teacher_regression: Tap of the teacher's last layer; None is the same path.
        visible_only: See :class:`~kd_plugins.distillers.keypoint.KeypointDistiller`.
        reduction: ``'task'`` is a sum over joints and a mean over images, like ``RLELoss``; ``'mean'`` is a mean over
            both.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self,
        regression: str = 'head.fc',
        teacher_regression: str | None = None,
        visible_only: bool = False,
        reduction: str = 'task',
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        pair = TapPair.of('regression', regression, 'teacher_regression', teacher_regression)
        super().__init__([pair], visible_only, reduction, weight, source, key)

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself, and heads without a Laplace distribution."""
        super().check_models(student, teacher)
        paths = self.pairs[0].student_path, self.pairs[0].teacher_path
        for role, path, head in zip(('student', 'teacher'), paths, self.heads(student, teacher)):
            loss = getattr(head, 'loss_module', None)
            distribution = getattr(loss, 'q_distribution', None)
            if distribution is None:
                owner = f'{type(head).__name__} with {type(loss).__name__}' if head is not None else 'no head'
                raise ConfigError(
                    f"{self.key}.regression: '{path}' of the {role} belongs to {owner}, which predicts no spread and "
                    'therefore no distribution; use RLEHead with RLELoss, or FeatureDistiller'
                )
            if distribution != 'laplace':
                raise ConfigError(
                    f"{self.key}.regression: RLELoss of the {role} has q_distribution='{distribution}', whose spread "
                    "is not that of a Laplace distribution; use q_distribution='laplace'"
                )

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check shapes and keypoints."""
        pair = self.pairs[0]
        outputs = pair.outputs(student_outputs, teacher_outputs)
        for path, tensors in zip((pair.student_path, pair.teacher_path), outputs):
            if len(tensors) != 1 or tensors[0].ndim != 2 or tensors[0].shape[1] % 4:
                shapes = [tuple(tensor.shape) for tensor in tensors]
                raise ConfigError(
                    f"{self.key}.regression: '{path}' gives shapes {shapes}; it must give one tensor "
                    "(N, 4 * keypoints), as 'head.fc' of RLEHead does"
                )
        joints, teacher_joints = (tensors[0].shape[1] // 4 for tensors in outputs)
        self.check_joints(pair, joints, teacher_joints)

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_kpt``."""
        outputs = self.pairs[0].outputs(student_outputs, teacher_outputs)
        student_joints, teacher_joints = (tensors[0].unflatten(1, (-1, 4)) for tensors in outputs)
        value = laplace_kl_loss(
            (student_joints[..., :2], student_joints[..., 2:].sigmoid()),
            (teacher_joints[..., :2], teacher_joints[..., 2:].sigmoid()),
            self.joint_weights(batch, student_joints),
        )
        return {'loss_kpt': value * student_joints.shape[1] if self.reduction == 'task' else value}
