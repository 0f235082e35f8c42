"""Localization distillation: the positions of box edges as distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import softmax_kl
from ..ops.boxes import distances_to_boxes, expected_distances, overlap_of_containing_boxes
from ..ops.reduction import weighted_mean
from ..registry import MODELS
from ..taps import module_at
from ..utils.checks import check_levels, check_number, check_same_size
from ..utils.head_types import has_distributions, roi_head, why_no_distribution
from .base import BaseDistiller, Batch, Taps
from .locations import Grid, grid_locations, ground_truth_boxes, inside_images, level_grids, location_rows
from .regions import Regions

NEGATIVE = 0.25
"""Factor of ``loss_ld_neg`` where the config has none."""


@MODELS.register_module()
class LocalizationDistiller(BaseDistiller):
    """KL divergence between the edge distributions of heads that predict ``4 * (reg_max + 1)`` logits.

    Source: localization distillation (arXiv 2102.12252) on generalized focal loss heads (arXiv 2006.04388). Locations
    inside a ground-truth box are weighted by the highest IoU of the teacher's box with such a box (``loss_ld``); all
    others by the teacher's highest class probability (``loss_ld_neg``). Both are weighted means over all ranks.

    With ``select`` or ``trust`` there is one term, ``loss_ld``, which needs no labels: the mean over the selected
    locations, weighted as :meth:`kd_plugins.distillers.regions.Regions.box_weights` says.

    Args:
        head: Dotted path of the head, the same in student and teacher.
        logits: Tap of the edge logits, (N, 4 * (reg_max + 1), H, W) per level; by default ``{head}.scales.*``.
        scores: Tap of the class logits, (N, C, H, W) per level; by default ``{head}.gfl_cls``. Read from the
            teacher, and from the student with ``trust='difference'``.
        temperature: Softens both distributions.
        positive_weight: Factor inside ``loss_ld``.
        negative_weight: Factor inside ``loss_ld_neg``; refused with ``select`` or ``trust``.
        select: The locations to learn from, by the teacher's highest probability: ``dict(ratio=0.01)``, the highest of
            the batch, or ``dict(score=0.1)``, all from there. None: all locations.
        trust: Weight of a location: ``'teacher'``, the default with ``select``, ``'difference'`` or ``'truth'``.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`. A teacher is required, since a network's own boxes teach it nothing.
        key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ('loss_ld', 'loss_ld_neg')

    def __init__(
        self,
        head: str = 'bbox_head',
        logits: str | None = None,
        scores: str | None = None,
        temperature: float = 5.0,
        positive_weight: float = 1.0,
        negative_weight: float = NEGATIVE,
        select: dict[str, Any] | None = None,
        trust: str | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, source, key)
        self.head = head
        self.logits = logits or f'{head}.scales.*'
        self.scores = scores or f'{head}.gfl_cls'
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True)
        self.positive_weight = check_number(f'{key}.positive_weight', positive_weight, positive=False)
        self.negative_weight = check_number(f'{key}.negative_weight', negative_weight, positive=False)
        self.regions = Regions(key, select, trust)
        if self.regions.active:
            if self.negative_weight != NEGATIVE:
                raise ConfigError(
                    f'{key}.negative_weight is {negative_weight} with select or trust, which have one term, loss_ld; '
                    'leave it out'
                )
            self.loss_names = ('loss_ld',)
        if not self.positive_weight and (self.regions.active or not self.negative_weight):
            raise ConfigError(
                f'{key}: the factor of every loss is 0, so nothing is compared; use for example positive_weight=1.0'
            )
        self.compares_classes = trust in ('difference', 'truth')
        self.reg_max = 0
        self.grids: list[Grid] = []

    @property
    def needs_labels(self) -> str | None:
        """Return the trust in labels, or ``loss_ld``, which is that of labelled boxes."""
        if not self.regions.active and self.positive_weight:
            return "loss_ld is that of locations in labelled boxes; use select=dict(ratio=0.01) or trust='teacher'"
        return self.regions.needs_labels

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the edge logits, and that of the class logits where they are compared."""
        return {'logits': self.logits, **({'scores': self.scores} if self.regions.needs_student else {})}

    def teacher_taps(self) -> dict[str, str]:
        """Return the taps of the edge logits and of the class logits."""
        return {'logits': self.logits, 'scores': self.scores}

    def _head_of(self, model: nn.Module, role: str) -> Any:
        modules = dict(model.named_modules())
        if self.head not in modules:
            roi = roi_head(model)
            if roi is not None and not any(has_distributions(module) for module in modules.values()):
                raise ConfigError(
                    f"{self.key}.head: '{self.head}' names no module of the {role}, whose '{roi[0]}' is "
                    f'{type(roi[1]).__name__}, {why_no_distribution(model, roi[0])}'
                )
        head = module_at(model, self.head, f'{self.key}.head', role)
        if not has_distributions(head):
            raise ConfigError(
                f"{self.key}.head: '{self.head}' of the {role} is {type(head).__name__}, "
                f'{why_no_distribution(model, self.head)}'
            )
        return head

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Read ``reg_max``, strides and first locations of the heads."""
        # The head is checked first: if it has no distributions, a teacher would not help.
        head, teacher_head = self._head_of(student, 'student'), self._head_of(teacher, 'teacher')
        if teacher is student:
            raise ConfigError(
                f"{self.key}: a network's own boxes teach it nothing; give a teacher, "
                "for example teacher=dict(type='kd_plugins.EMATeacher')"
            )
        if head.reg_max != teacher_head.reg_max:
            raise ConfigError(
                f"{self.key}: the student's '{self.head}' has reg_max={head.reg_max} and the teacher's "
                f'reg_max={teacher_head.reg_max}; train both with the same reg_max'
            )
        self.grids = level_grids(head.prior_generator)
        teacher_grids = level_grids(teacher_head.prior_generator)
        if self.grids != teacher_grids:
            strides, teacher_strides = ([stride for stride, _ in grids] for grids in (self.grids, teacher_grids))
            raise ConfigError(
                f"{self.key}: the student's '{self.head}' has strides {strides} and the teacher's {teacher_strides}, "
                'or their anchor centres differ; both must predict at the same locations'
            )
        self.reg_max = int(head.reg_max)

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check levels, bins and sizes."""
        key, logits, teacher_logits = f'{self.key}.logits', student_outputs['logits'], teacher_outputs['logits']
        check_levels(key, logits, teacher_logits, 'levels')
        if len(logits) != len(self.grids):
            raise ConfigError(
                f"{key}: '{self.logits}' gives {len(logits)} levels and the head has {len(self.grids)} strides; "
                'tap a layer that runs once per level'
            )
        channels = 4 * (self.reg_max + 1)
        for role, levels in (('student', logits), ('teacher', teacher_logits)):
            for level in levels:
                if level.ndim != 4 or level.shape[1] != channels:
                    raise ConfigError(
                        f"{key}: '{self.logits}' of the {role} has shape {tuple(level.shape)}; with "
                        f'reg_max={self.reg_max} it must be (N, 4 * {self.reg_max + 1} = {channels}, H, W)'
                    )
        check_same_size(key, logits, teacher_logits, 'both must predict at the same locations')
        key, scores = f'{self.key}.scores', teacher_outputs['scores']
        check_levels(key, logits, scores, 'levels')
        # One channel of each, since only the channels may differ.
        first_logits, first_scores = ([level[:, 0] for level in levels] for levels in (logits, scores))
        check_same_size(key, first_logits, first_scores, 'class logits belong to the same locations')
        if self.regions.needs_student:
            check_levels(key, student_outputs['scores'], scores, 'levels')
            check_same_size(key, student_outputs['scores'], scores, 'both must predict the same classes')

    def _edges(self, levels: Sequence[Tensor]) -> Tensor:
        """Return (N, L, 4, bins) from levels of (N, 4 * bins, H, W), locations in row-major order."""
        flat = [level.flatten(2).transpose(1, 2) for level in levels]
        return torch.cat(flat, dim=1).unflatten(2, (4, self.reg_max + 1))

    def locations(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return centres (x, y) and strides (x, y) of all locations, each of shape (L, 2), in pixels."""
        return grid_locations(levels, self.grids)

    @torch.no_grad()
    def weights(
        self, teacher_outputs: Taps, batch: Batch, teacher_edges: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the weights of all locations in ``loss_ld`` and in ``loss_ld_neg``, each of shape (N, L).

        Args:
            teacher_outputs: Outputs of the teacher's taps.
            batch: The batch.
            teacher_edges: The logits of ``teacher_outputs`` of all levels, where the caller has them already.
        """
        logits, scores = teacher_outputs['logits'], teacher_outputs['scores']
        centers, strides = self.locations(logits)
        edges = self._edges(logits) if teacher_edges is None else teacher_edges
        distances = expected_distances(edges) * strides.repeat(1, 2)
        boxes = distances_to_boxes(centers, distances)
        truth = ground_truth_boxes(batch, boxes)
        overlap, contained = overlap_of_containing_boxes(centers, boxes, truth)
        confidence = torch.cat([level.flatten(2).amax(dim=1) for level in scores], dim=1).sigmoid()
        confidence = confidence * ~contained
        valid = inside_images(batch, centers, boxes.shape[0])
        return overlap * valid, confidence * valid

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_ld`` and, without selection and trust, ``loss_ld_neg``."""
        edges, teacher_edges = self._edges(student_outputs['logits']), self._edges(teacher_outputs['logits'])
        # One divergence serves both terms, as in `localization_loss` with two weights.
        divergence = softmax_kl(edges, teacher_edges, self.temperature, dim=-1).mean(dim=-1)
        if self.regions.active:
            weight = self._region_weights(student_outputs, teacher_outputs, batch)
            return {'loss_ld': self.positive_weight * weighted_mean(divergence, weight, eps=1.0)}
        positive, negative = self.weights(teacher_outputs, batch, teacher_edges)
        return {
            'loss_ld': self.positive_weight * weighted_mean(divergence, positive),
            'loss_ld_neg': self.negative_weight * weighted_mean(divergence, negative),
        }

    def _region_weights(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> Tensor:
        teacher = location_rows(teacher_outputs['scores']).sigmoid()
        student = location_rows(student_outputs['scores']).sigmoid() if self.regions.needs_student else None
        centers, _ = self.locations(teacher_outputs['logits'])
        valid = inside_images(batch, centers, len(teacher))
        return self.regions.box_weights(teacher, student, centers, valid, batch)

    def monitors(self) -> dict[str, Tensor]:
        """Return ``selected``, the share of the locations that the last batch selected, where there is a selection."""
        return self.regions.shares
