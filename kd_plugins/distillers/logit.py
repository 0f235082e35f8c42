"""Class-score distillation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..errors import ConfigError
from ..losses import quality_focal_kd_loss, softmax_kl_loss
from ..registry import MODELS
from ..utils.checks import (
    channel_count,
    check_channel_dim,
    check_choice,
    check_levels,
    check_number,
    check_same_size,
)
from .base import Batch, Taps
from .paired import PairedDistiller, TapPair

ACTIVATIONS = ('sigmoid', 'softmax')


@MODELS.register_module()
class LogitDistiller(PairedDistiller):
    """Divergence of the class scores of every location, query, voxel or image.

    ``activation='sigmoid'`` is the quality-focal form (:func:`kd_plugins.losses.quality_focal_kd_loss`), for heads
    with one sigmoid per class; ``'softmax'`` is the KL divergence (:func:`kd_plugins.losses.softmax_kl_loss`). Entry i
    of the student learns from entry i of the teacher, so both must predict at the same places. The second stage of a
    two-stage detector is excluded, because the proposals of two networks differ.

    Args:
        logits: Tap of the class logits, one tensor per level: (N, C), (N, C, *spatial), or (N, L, C) with
            ``class_dim=2``.
        activation: ``'sigmoid'`` or ``'softmax'``.
        temperature: Softens both softmax distributions; must be 1 for ``'sigmoid'``.
        beta: Exponent of the quality-focal factor, 0 or >= 1; only for ``'sigmoid'``.
        class_dim: Dimension of the classes.
        teacher_logits: Tap of the teacher's class logits, for example of a deeper decoder layer; None is the same path.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_logit',)
    compares_classes = True

    def __init__(
        self,
        logits: str = 'bbox_head.rtm_cls.*',
        activation: str = 'sigmoid',
        temperature: float = 1.0,
        beta: float = 2.0,
        class_dim: int = 1,
        teacher_logits: str | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__([TapPair.of('logits', logits, 'teacher_logits', teacher_logits)], weight, source, key)
        self.activation = check_choice(f'{key}.activation', activation, ACTIVATIONS)
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True)
        self.beta = check_number(f'{key}.beta', beta, positive=False)
        if activation == 'sigmoid' and self.temperature != 1.0:
            raise ConfigError(
                f"{key}.temperature is {temperature} with activation='sigmoid', whose quality-focal form has none; "
                "use temperature=1.0 or activation='softmax'"
            )
        if 0.0 < self.beta < 1.0:
            raise ConfigError(
                f'{key}.beta is {beta}, for which the gradient is infinite at 0; use 0 or at least 1, such as 2.0'
            )
        self.class_dim = check_channel_dim(f'{key}.class_dim', class_dim)

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check levels, classes and sizes."""
        pair, key = self.pairs[0], f'{self.key}.logits'
        student_levels, teacher_levels = pair.outputs(student_outputs, teacher_outputs)
        check_levels(key, student_levels, teacher_levels, 'levels')
        for levels in zip(student_levels, teacher_levels):
            classes, teacher_classes = (
                channel_count(f'{self.key}.class_dim', level, self.class_dim, f"'{pair.student_path}'")
                for level in levels
            )
            if classes != teacher_classes:
                raise ConfigError(
                    f'{key}: the teacher predicts {teacher_classes} classes where the student predicts {classes}; '
                    'use a teacher trained on the same classes, or FeatureDistiller'
                )
        check_same_size(key, student_levels, teacher_levels, 'both must predict at the same places')

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_logit``."""
        levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        if self.activation == 'softmax':
            return {'loss_logit': softmax_kl_loss(*levels, self.temperature, self.class_dim)}
        return {'loss_logit': quality_focal_kd_loss(*levels, self.beta, self.class_dim)}
