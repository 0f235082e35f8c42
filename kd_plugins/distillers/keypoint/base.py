"""Base class of the keypoint distillers: the head that a tap belongs to, and the weights of the joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...ops.probabilities import jensen_shannon, mean_logits
from ...ops.reduction import to_float
from ...utils.argument_types import shown
from ...utils.checks import check_choice, check_number
from ..base import Batch
from ..joint_labels import keypoint_weights, peak_positions, true_positions
from ..paired import PairedDistiller, TapPair, module_above
from ..regions import AGREEMENT, TAU, TRUTH, Regions, check_agreement

DISTANCE = 0.05
"""Threshold of the PCK that MMPose's heads log as ``acc_pose``."""


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


def weighted(weights: Tensor | None, trust: Tensor | None) -> Tensor | None:
    """Return the product of two weights, of which each may be None, that is 1."""
    if weights is None or trust is None:
        return trust if weights is None else weights
    return weights * trust


class KeypointDistiller(PairedDistiller):
    """Base of the keypoint distillers.

    Args:
        pairs: Taps of the last layers of the head.
        visible_only: Whether joints are weighted by ``data_samples[i].gt_instance_labels.keypoint_weights``, as in the
            task loss. Otherwise all joints weigh 1.
        reduction: One of :attr:`reductions`.
        weight, key: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`; or the names of several teachers with the same head, whose mean distribution
            is the target.
        select: The joints that count, by the height of the teacher's peak: ``dict(score=0.3)``, those from there, or
            ``dict(ratio=0.5)``, the highest of the batch. The mean is then that of the joints that count. None: all.
        trust: ``'truth'`` lets the labelled joints count that the teacher finds within ``distance`` of their label;
            ``'agreement'`` weighs each joint by the agreement of several teachers; None does neither.
        tau: Divergence of the teachers, in nats, at which the weight of ``trust='agreement'`` is 1 / e.
        distance: Largest distance of ``trust='truth'``, with x in widths and y in heights of the input.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_kpt',)
    combines = True
    reductions: tuple[str, ...] = ('task', 'mean')
    """Valid values of ``reduction``."""

    def __init__(
        self,
        pairs: Sequence[TapPair],
        visible_only: bool,
        reduction: str,
        weight: float | dict[str, Any],
        source: str | list[str],
        key: str,
        select: dict[str, Any] | None = None,
        trust: str | None = None,
        tau: float = TAU,
        distance: float = DISTANCE,
    ) -> None:
        super().__init__(pairs, weight, source, key)
        self.visible_only = visible_only
        self.reduction = check_choice(f'{key}.reduction', reduction, self.reductions)
        self.regions = Regions(key, select, trust, trusts=(TRUTH, AGREEMENT))
        self.tau = check_agreement(key, trust, self.source, self.others, tau)
        self.distance = check_number(f'{key}.distance', distance, positive=True, example=DISTANCE)
        if trust != TRUTH and self.distance != DISTANCE:
            raise ConfigError(
                f"{key}.distance is {distance}, which trust='truth' alone reads, and trust is {shown(trust)}; "
                'leave it out'
            )
        self._right: dict[str, Tensor] = {}
        if self.regions.active and reduction == 'reference':
            raise ConfigError(
                f"{key}.reduction is 'reference', which counts all joints, with select or trust; use 'task' or 'mean'"
            )

    @property
    def needs_labels(self) -> str | None:
        """Return the joints that labels choose."""
        if self.visible_only:
            return 'visible_only=True reads which joints are labelled; use visible_only=False'
        return self.regions.needs_labels

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

    def target(self, teachers: Sequence[Sequence[Tensor]], beta: float) -> tuple[Sequence[Tensor], Tensor | None]:
        """Return the teachers' mean and their agreement on each joint, None without ``trust='agreement'``.

        Args:
            teachers: Logits of each axis of every teacher, shape (N, K, bins), for the student's ``beta``.
            beta: The factor on them.
        """
        if len(teachers) == 1:
            return teachers[0], None
        axes = [[to_float(logits) * beta for logits in members] for members in zip(*teachers)]
        mean = [mean_logits(members, softmax=True) / beta for members in axes]
        if self.regions.trust != AGREEMENT:
            return mean, None
        divergence = torch.stack([jensen_shannon(members, softmax=True) for members in axes]).mean(dim=0)
        return mean, (-divergence / self.tau).exp()

    def counted(self, peaks: Tensor, weights: Tensor | None) -> Tensor:
        """Return which joints count, where there is a selection or trust; every rank must call it.

        Args:
            peaks: Heights of the teacher's peaks, shape (N, K).
            weights: Weights of the joints, or None; a joint of weight 0 does not count.
        """
        valid = torch.ones_like(peaks, dtype=torch.bool) if weights is None else weights > 0
        return self.regions.selected(peaks.detach().clamp(min=0), valid)

    def monitors(self) -> dict[str, Tensor]:
        """Return shares of the joints of the last batch.

        ``selected`` are those that counted, where there is a selection; ``right`` are those of the labelled joints that
        the teacher finds, with ``trust='truth'``.
        """
        return {**self.regions.shares, **self._right}

    def joint_weights(self, batch: Batch, like: Tensor) -> Tensor | None:
        """Return the weight of each joint, or None where all joints weigh 1.

        Args:
            batch: Data samples with labels, see :func:`kd_plugins.distillers.joint_labels.keypoint_weights`.
            like: A tensor whose first two dimensions are N and K, on the device of the result.

        Returns:
            Shape (N, K).

        Raises:
            ConfigError: If the data samples have no such weights.
        """
        if not self.visible_only:
            return None
        return keypoint_weights(batch, like, f'{self.key}.visible_only is True', 'visible_only=False')

    @torch.no_grad()
    def right_weights(
        self, weights: Tensor | None, teacher: Sequence[Tensor], labels: Sequence[str], batch: Batch
    ) -> Tensor | None:
        """Return the weights of the joints, with 0 for those that the teacher gets wrong or that have no label.

        Without ``trust='truth'`` they stay as they are.

        Args:
            weights: Weights of the joints, shape (N, K); None: all 1.
            teacher: Heatmaps (N, K, H, W) of the teacher, or its logits along x and y, (N, K, bins).
            labels: Names of the training targets, see :func:`kd_plugins.distillers.joint_labels.true_positions`.
            batch: The batch.

        Raises:
            ConfigError: If the data samples have no such labels.
        """
        if self.regions.trust != TRUTH:
            return weights
        reason, others, like = f"{self.key}.trust is '{TRUTH}'", 'trust=None', teacher[0].flatten(2)[..., 0]
        labelled = keypoint_weights(batch, like, reason, others) > 0
        apart = peak_positions(teacher) - true_positions(batch, labels, like, reason, others)
        right = labelled & (apart.norm(dim=-1) <= self.distance)
        self._right = {'right': right.sum() / labelled.sum().clamp(min=1)}
        return weighted(weights, right.to(like.dtype))
