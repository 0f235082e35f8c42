"""Class-score distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..losses import dense_focal_loss, quality_focal_kd_loss, softmax_kl, softmax_kl_loss
from ..ops.reduction import weighted_mean
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
from .locations import cells, inside_images, location_rows
from .paired import PairedDistiller, TapPair
from .regions import Regions

ACTIVATIONS = ('sigmoid', 'softmax')


@MODELS.register_module()
class LogitDistiller(PairedDistiller):
    """Divergence of the class scores of every location, query, voxel or image.

    ``activation='sigmoid'`` is the quality-focal form (:func:`kd_plugins.losses.quality_focal_kd_loss`), for heads
    with one sigmoid per class; ``'softmax'`` is the KL divergence (:func:`kd_plugins.losses.softmax_kl_loss`). Entry i
    of the student learns from entry i of the teacher, so both must predict at the same places. The second stage of a
    two-stage detector is excluded, because the proposals of two networks differ.

    With ``select`` or ``trust``, padding counts for nothing and each remaining location has a weight: ``'sigmoid'`` is
    then :func:`kd_plugins.losses.dense_focal_loss`, and ``'softmax'`` a weighted mean of the divergences over all
    ranks. Where ``others='zero'``, ``'teacher'`` and ``'difference'`` weigh the selected locations alone, and
    ``'truth'`` all of them.

    Args:
        logits: Tap of the class logits, one tensor per level: (N, C), (N, C, *spatial), or (N, L, C) with
            ``class_dim=2``.
        activation: ``'sigmoid'`` or ``'softmax'``.
        temperature: Softens both softmax distributions; must be 1 for ``'sigmoid'``.
        beta: Exponent of the quality-focal factor, 0 or >= 1; only for ``'sigmoid'``.
        class_dim: Dimension of the classes.
        teacher_logits: Tap of the teacher's class logits, for example of a deeper decoder layer; None is the same path.
        select: The locations to learn from, by the teacher's highest probability: ``dict(ratio=0.01)``, the highest of
            the batch, or ``dict(score=0.1)``, all from there. The other locations learn that there is no class
            (``others='zero'``, the default for ``'sigmoid'``) or nothing (``others='ignore'``). None: all locations.
        trust: Weight of a location: ``'teacher'``, ``'difference'`` or ``'truth'``, see
            :class:`kd_plugins.distillers.regions.Regions`; None is 1.
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
        select: dict[str, Any] | None = None,
        trust: str | None = None,
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
        # The distribution of a softmax has no state in which there is no class.
        self.regions = Regions(key, select, trust, ('zero', 'ignore') if activation == 'sigmoid' else ('ignore',))
        if trust == 'truth' and activation == 'softmax':
            raise ConfigError(
                f"{key}.trust is 'truth' with activation='softmax'; it needs a head with one sigmoid per class; "
                "valid: None, 'teacher', 'difference'"
            )

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
        if self.regions.active:
            return {'loss_logit': self._dense_loss(*levels, batch)}
        if self.activation == 'softmax':
            return {'loss_logit': softmax_kl_loss(*levels, self.temperature, self.class_dim)}
        return {'loss_logit': quality_focal_kd_loss(*levels, self.beta, self.class_dim)}

    def _dense_loss(self, student_levels: Sequence[Tensor], teacher_levels: Sequence[Tensor], batch: Batch) -> Tensor:
        student, teacher = (location_rows(levels, self.class_dim) for levels in (student_levels, teacher_levels))
        softmax = self.activation == 'softmax'
        teacher_scores, student_scores = (
            x.detach().softmax(dim=-1) if softmax else x.detach().sigmoid() for x in (teacher, student)
        )
        # A cell is a place on the image where the classes lie in the second of four dimensions.
        corners = cells(teacher_levels, batch) if self.class_dim in (1, -3) else None
        valid = torch.ones_like(teacher_scores[..., 0], dtype=torch.bool)
        if corners is not None:
            valid = inside_images(batch, corners, len(valid))
        selected = self.regions.selected(teacher_scores.amax(dim=-1), valid)
        trusted = self.regions.trusted(teacher_scores, student_scores, corners, batch)
        if softmax:
            return weighted_mean(softmax_kl(student, teacher, self.temperature, dim=-1), trusted * selected, eps=1.0)
        others = torch.zeros_like(trusted)
        if self.regions.selection is not None and self.regions.selection.others == 'zero':
            others = (trusted if self.regions.trust == 'truth' else 1.0) * (valid & ~selected)
        return dense_focal_loss(student, teacher, trusted * selected, others, self.beta)

    def monitors(self) -> dict[str, Tensor]:
        """Return ``selected``, the share of the locations that the last batch selected, where there is a selection."""
        return self.regions.shares
