"""Distil regressed joints together with how sure the network is of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...losses import laplace_kl_loss
from ...registry import MODELS
from ..base import Batch, Taps
from .base import KeypointDistiller


@MODELS.register_module()
class RLEDistiller(KeypointDistiller):
    """KL divergence of Laplace distributions of every coordinate (:func:`kd_plugins.losses.laplace_kl_loss`).

    ``RLEHead`` predicts for each joint a place and a spread, (x, y, sigma_x, sigma_y) with a sigmoid on the spreads.
    They are location and scale of the Laplace distribution that ``RLELoss`` starts from (arXiv 2107.11291); a flow
    learns how real errors differ from it, is used in training alone, and is not distilled.

    Args:
        regression: Tap of the last layer, (N, 4 * K).
        teacher_regression: Tap of the one who teaches, where it differs.
        visible_only: Whether joints count by the ``keypoint_weights`` of the data samples, as in the task loss.
        reduction: ``'task'`` is a sum over joints and a mean over images, as ``RLELoss`` is; ``'mean'`` a mean over
            both.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`.

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
    ) -> None:
        taps = {'regression': (regression, teacher_regression)}
        super().__init__(taps, visible_only, reduction, ('task', 'mean'), weight, source)

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself, and heads without a Laplace distribution."""
        super().check_models(student, teacher)
        for role, path, head in zip(
            ('student', 'teacher'), self.paths['regression'], self.heads(student, teacher, 'regression')
        ):
            loss = getattr(head, 'loss_module', None)
            distribution = getattr(loss, 'q_distribution', None)
            if distribution is None:
                owner = f'{type(head).__name__} with {type(loss).__name__}' if head is not None else 'no head'
                raise ConfigError(
                    f"{self.key}.regression: '{path}' of the {role} belongs to {owner}, which predicts no spread and "
                    'so no distribution; use RLEHead with RLELoss, or FeatureDistiller'
                )
            if distribution != 'laplace':
                raise ConfigError(
                    f"{self.key}.regression: RLELoss of the {role} has q_distribution='{distribution}', whose spread "
                    "is another one; use q_distribution='laplace'"
                )

    def initialize(self, student: Taps, teacher: Taps) -> None:
        """Check keypoints."""
        for path, found in zip(self.paths['regression'], self.pairs('regression', student, teacher)):
            if len(found) != 1 or found[0].ndim != 2 or found[0].shape[1] % 4:
                shapes = [tuple(tensor.shape) for tensor in found]
                raise ConfigError(
                    f"{self.key}.regression: '{path}' gives shapes {shapes}; it must give one tensor "
                    "(N, 4 * keypoints), as 'head.fc' of RLEHead does"
                )
        ours, theirs = self.pairs('regression', student, teacher)
        self.check_joints('regression', ours[0].shape[1] // 4, theirs[0].shape[1] // 4)

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_kpt``."""
        ours, theirs = (found[0].unflatten(1, (-1, 4)) for found in self.pairs('regression', student, teacher))
        value = laplace_kl_loss(
            (ours[..., :2], ours[..., 2:].sigmoid()),
            (theirs[..., :2], theirs[..., 2:].sigmoid()),
            self.joint_weights(batch, ours),
        )
        return {'loss_kpt': value * ours.shape[1] if self.reduction == 'task' else value}
