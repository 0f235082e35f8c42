"""Base class of the keypoint distillers: the head that a tap belongs to, and the weights of the joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...utils.checks import check_choice
from ..base import Batch
from ..paired import PairedDistiller, TapPair, module_above


def head_above(model: nn.Module, path: str, key: str, role: str) -> Any:
    """Return the nearest module above a tapped layer that has a ``loss_module``, as MMPose's heads do, or None.

    Args:
        model: The network.
        path: Path of the tap.
        key: Config key of the path for the error sentence.
        role: ``'student'`` or ``'teacher'``, for the error sentence.

    Raises:
        ConfigError: If the path names no module.
    """
    return module_above(model, path, key, role, lambda module: hasattr(module, 'loss_module'))


def with_student_beta(teacher_logits: Tensor, beta: float, teacher_beta: float) -> Tensor:
    """Return the teacher's logits, scaled so that the student's factor on them gives the teacher's distribution.

    Args:
        teacher_logits: Logits or heatmaps of any shape.
        beta: The student's factor on its logits.
        teacher_beta: The teacher's factor on its logits.

    >>> with_student_beta(torch.tensor([1.0]), beta=10.0, teacher_beta=1.0)
    tensor([0.1000])
    """
    return teacher_logits if teacher_beta == beta else teacher_logits * (teacher_beta / beta)


class KeypointDistiller(PairedDistiller):
    """Base of the keypoint distillers.

    Args:
        pairs: Taps of the last layers of the head.
        visible_only: Whether joints are weighted by ``data_samples[i].gt_instance_labels.keypoint_weights``, as in the
            task loss. Otherwise all joints weigh 1.
        reduction: One of :attr:`reductions`.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_kpt',)
    reductions: tuple[str, ...] = ('task', 'mean')
    """Valid values of ``reduction``."""

    def __init__(
        self,
        pairs: Sequence[TapPair],
        visible_only: bool,
        reduction: str,
        weight: float | dict[str, Any],
        source: str,
        key: str,
    ) -> None:
        super().__init__(pairs, weight, source, key)
        self.visible_only = visible_only
        self.reduction = check_choice(f'{key}.reduction', reduction, self.reductions)

    def heads(self, student: nn.Module, teacher: nn.Module) -> tuple[Any, Any]:
        """Return the heads of student and teacher that the first pair of taps belongs to.

        A head is None where no module above the tap has a ``loss_module``.
        """
        pair = self.pairs[0]
        return (
            head_above(student, pair.student_path, f'{self.key}.{pair.student_key}', 'student'),
            head_above(teacher, pair.teacher_path, f'{self.key}.{pair.teacher_key}', 'teacher'),
        )

    def check_joints(self, pair: TapPair, student_joints: int, teacher_joints: int) -> None:
        """Check that student and teacher predict equally many keypoints.

        Raises:
            ConfigError: If they do not.
        """
        if student_joints != teacher_joints:
            raise ConfigError(
                f'{self.key}.{pair.student_key}: the teacher predicts {teacher_joints} keypoints where the student '
                f'predicts {student_joints}; use a teacher trained on the same keypoints, or FeatureDistiller'
            )

    def joint_weights(self, batch: Batch, like: Tensor) -> Tensor | None:
        """Return the weight of each joint, or None where all joints weigh 1.

        Args:
            batch: Each data sample holds one row of weights per person, or (levels, 1, K) for a multi-stage head and
                one person. Then the largest weight over the levels counts.
            like: A tensor whose first two dimensions are N and K, on the device of the result.

        Returns:
            Shape (N, K).

        Raises:
            ConfigError: If the data samples have no such weights.
        """
        if not self.visible_only:
            return None
        rows = [like.new_zeros(0, like.shape[1])]
        for sample in batch.data_samples or ():
            weights = getattr(getattr(sample, 'gt_instance_labels', None), 'keypoint_weights', None)
            if weights is not None:
                rows.append(
                    (weights.flatten(0, 1).amax(dim=0, keepdim=True) if weights.ndim == 3 else weights).to(like)
                )
        joined = torch.cat(rows) if all(row.shape[1:] == like.shape[1:2] for row in rows) else rows[0]
        if joined.shape != like.shape[:2]:
            raise ConfigError(
                f'{self.key}.visible_only is True, and the data samples give no gt_instance_labels.keypoint_weights '
                f'of shape {tuple(like.shape[:2])}; use visible_only=False, or a pipeline with GenerateTarget'
            )
        return joined
