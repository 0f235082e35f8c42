"""What the distillers of keypoints share: pairs of taps, the head that a tap belongs to, and the joints that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, check_known
from ...taps import match_modules
from ...utils.head_types import lineage
from ..base import BaseDistiller, Batch, Taps

KEYPOINT_ADVICE = 'use a teacher trained on the same keypoints, or FeatureDistiller'


def head_above(model: nn.Module, path: str, key: str, role: str) -> Any:
    """Return the nearest module above a tapped layer that has a ``loss_module``, as MMPose's heads do, or ``None``.

    Raises:
        ConfigError: If the path names no module.
    """
    name, _ = match_modules(model, path, key, role)[0]
    return next((module for module in reversed(lineage(model, name)) if hasattr(module, 'loss_module')), None)


class KeypointDistiller(BaseDistiller):
    """Base of the distillers of keypoints.

    Args:
        taps: Config key of each tap to its path in the student and in the one who teaches (``None``: the same).
        visible_only: Whether joints count by ``data_samples[i].gt_instance_labels.keypoint_weights``.
        reduction: One of ``reductions``.
        reductions: Its valid values.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_kpt',)

    def __init__(
        self,
        taps: Mapping[str, tuple[str, str | None]],
        visible_only: bool,
        reduction: str,
        reductions: Sequence[str],
        weight: float | dict[str, Any],
        source: str,
    ) -> None:
        super().__init__(weight, source)
        self.paths = {name: (ours, theirs or ours) for name, (ours, theirs) in taps.items()}
        # The alias is the config key that an error about the tap should name.
        self._teacher_alias = {name: f'teacher_{name}' if theirs else name for name, (_, theirs) in taps.items()}
        self.visible_only = visible_only
        self.reduction = check_known(f'{self.key}.reduction', reduction, reductions)

    def student_taps(self) -> dict[str, str]:
        """Return the taps of the head's last layers."""
        return {name: ours for name, (ours, _) in self.paths.items()}

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps of the one who teaches."""
        return {self._teacher_alias[name]: theirs for name, (_, theirs) in self.paths.items()}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself."""
        for name, (ours, theirs) in self.paths.items():
            if teacher is student and ours == theirs:
                raise ConfigError(
                    f"{self.key}.{name}: '{ours}' would teach itself; give a teacher, for example "
                    f"teacher=dict(type='kd_plugins.EMATeacher'), or teacher_{name} with the path of a deeper layer"
                )

    def heads(self, student: nn.Module, teacher: nn.Module, name: str) -> tuple[Any, Any]:
        """Return the heads that a pair of taps belongs to, ``None`` where no module above has a ``loss_module``."""
        ours, theirs = self.paths[name]
        return (
            head_above(student, ours, f'{self.key}.{name}', 'student'),
            head_above(teacher, theirs, f'{self.key}.{self._teacher_alias[name]}', 'teacher'),
        )

    def pairs(self, name: str, student: Taps, teacher: Taps) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return what a pair of taps gave."""
        return student[name], teacher[self._teacher_alias[name]]

    def check_joints(self, name: str, student: int, teacher: int) -> None:
        """Check that both predict equally many keypoints.

        Raises:
            ConfigError: If they do not.
        """
        if student != teacher:
            raise ConfigError(
                f'{self.key}.{name}: the teacher predicts {teacher} keypoints where the student predicts {student}; '
                f'{KEYPOINT_ADVICE}'
            )

    def joint_weights(self, batch: Batch, like: Tensor) -> Tensor | None:
        """Return how much each joint counts, or ``None`` where all count 1.

        Args:
            batch: Each data sample holds one row of weights per person, or (levels, 1, K) for a multi-stage head and
                one person, of which the largest counts.
            like: Any tensor whose first two dimensions are N and K.

        Returns:
            Shape (N, K).

        Raises:
            ConfigError: If the data samples have no such weights.
        """
        if not self.visible_only:
            return None
        rows = [like.new_zeros(0, like.shape[1])]
        for sample in batch.data_samples or ():
            found = getattr(getattr(sample, 'gt_instance_labels', None), 'keypoint_weights', None)
            if found is not None:
                rows.append((found.flatten(0, 1).amax(dim=0, keepdim=True) if found.ndim == 3 else found).to(like))
        weights = torch.cat(rows) if all(row.shape[1:] == like.shape[1:2] for row in rows) else rows[0]
        if weights.shape != like.shape[:2]:
            raise ConfigError(
                f'{self.key}.visible_only is True, and the data samples give no gt_instance_labels.keypoint_weights '
                f'of shape {tuple(like.shape[:2])}; use visible_only=False, or a pipeline with GenerateTarget'
            )
        return weights
