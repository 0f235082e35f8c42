"""Distil class scores."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError, check_known
from ..losses import quality_focal_kd_loss, softmax_kl_loss
from ..registry import MODELS
from ..utils.checks import check_levels, check_number, check_same_size
from .base import BaseDistiller, Batch, Taps


@MODELS.register_module()
class LogitDistiller(BaseDistiller):
    """Divergence of the class scores of every location, query, voxel or image.

    ``activation='sigmoid'`` is the quality-focal form (:func:`kd_plugins.losses.quality_focal_kd_loss`), for heads
    with one sigmoid per class; ``'softmax'`` is the KL divergence (:func:`kd_plugins.losses.softmax_kl_loss`). Entry i
    of the student learns from entry i of the teacher, so both must predict at the same places: not for the second stage
    of a two-stage detector, whose proposals differ.

    Args:
        logits: Tap of the class logits, one tensor per level: (N, C), (N, C, *spatial), or (N, L, C) with
            ``class_dim=2``.
        activation: ``'sigmoid'`` or ``'softmax'``.
        temperature: Softens both softmax distributions; must be 1 for ``'sigmoid'``.
        beta: Exponent of the quality-focal factor, 0 or >= 1; only for ``'sigmoid'``.
        class_dim: Dimension of the classes.
        teacher_logits: Tap of the one who teaches, where it differs, for example a deeper decoder layer.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_logit',)

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
    ) -> None:
        super().__init__(weight, source)
        self.logits = logits
        self.teacher_logits = teacher_logits
        self.activation = check_known(f'{self.key}.activation', activation, ('sigmoid', 'softmax'))
        self.temperature = check_number(f'{self.key}.temperature', temperature, positive=True)
        self.beta = check_number(f'{self.key}.beta', beta, positive=False)
        if activation == 'sigmoid' and self.temperature != 1.0:
            raise ConfigError(
                f"{self.key}.temperature is {temperature} with activation='sigmoid', whose quality-focal form has "
                "none; use temperature=1.0 or activation='softmax'"
            )
        if 0.0 < self.beta < 1.0:
            raise ConfigError(
                f'{self.key}.beta is {beta}, whose gradient is infinite at 0; use 0 or at least 1, such as 2.0'
            )
        if not isinstance(class_dim, int) or class_dim == 0:
            raise ConfigError(f'{self.key}.class_dim is {class_dim!r}; valid: 1 for (N, C, ...), -1 for (N, L, C)')
        self.class_dim = class_dim
        # The alias is the config key that an error about the tap should name.
        self._teacher_alias = 'teacher_logits' if teacher_logits else 'logits'

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the class logits."""
        return {'logits': self.logits}

    def teacher_taps(self) -> dict[str, str]:
        """Return the tap of the class logits of the one who teaches."""
        return {self._teacher_alias: self.teacher_logits or self.logits}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself."""
        if teacher is student and self.teacher_logits in (None, self.logits):
            raise ConfigError(
                f"{self.key}: '{self.logits}' would teach itself; give a teacher, for example "
                "teacher=dict(type='kd_plugins.EMATeacher'), or teacher_logits with the path of a deeper layer"
            )

    def initialize(self, student: Taps, teacher: Taps) -> None:
        """Check levels, classes and sizes."""
        key = f'{self.key}.logits'
        ours, theirs = student['logits'], teacher[self._teacher_alias]
        check_levels(key, ours, theirs, 'levels')
        for s, t in zip(ours, theirs):
            if not -s.ndim < self.class_dim < s.ndim:
                raise ConfigError(
                    f"{self.key}.class_dim is {self.class_dim} and '{self.logits}' has shape {tuple(s.shape)}; "
                    f'valid: 1 to {s.ndim - 1}'
                )
            if s.shape[self.class_dim] != t.shape[self.class_dim]:
                raise ConfigError(
                    f'{key}: the teacher predicts {t.shape[self.class_dim]} classes where the student predicts '
                    f'{s.shape[self.class_dim]}; use a teacher trained on the same classes, or FeatureDistiller'
                )
        check_same_size(key, ours, theirs, 'both must predict at the same places')

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_logit``."""
        levels = student['logits'], teacher[self._teacher_alias]
        if self.activation == 'softmax':
            return {'loss_logit': softmax_kl_loss(*levels, self.temperature, self.class_dim)}
        return {'loss_logit': quality_focal_kd_loss(*levels, self.beta, self.class_dim)}
