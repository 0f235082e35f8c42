"""Class heads on the stages of a backbone, the deeper of which teach the shallower."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import MODELS
from ...taps import TapSet
from ...utils.checks import check_choice, check_flag, check_integer, check_number
from ..base import BaseDistiller, Batch, Taps
from ..depth import depth_order
from ..locations import positions_on_images
from ..presence import class_count, present_classes
from .head import StageHead
from .loss import TEACHERS, presence_loss, stage_loss, turned_target

TURNS = 4
"""Quarter turns of an image, 0 to 3."""


@MODELS.register_module()
class StageClassDistiller(BaseDistiller):
    """Stages of a backbone learn which classes an image has, and the deeper teach the shallower.

    This is what HSAKD (arXiv 2107.13715) and LSSKD (arXiv 2506.07055) do with classifiers, carried over to models whose
    images have several classes: each stage has a :class:`~kd_plugins.distillers.stage_class.StageHead`, whose labels
    are the classes of the boxes or pixels. ``loss_presence`` trains the heads and the stages
    (:func:`~kd_plugins.distillers.stage_class.presence_loss`), ``loss_stage`` lets deeper stages teach shallower ones
    (:func:`~kd_plugins.distillers.stage_class.stage_loss`). The model's own head gets no label of it.

    Args:
        stages: Tap of the stages of the backbone, such as ``'backbone.layer*'``.
        width: Channels of the heads.
        teacher: ``'deepest'``: the deepest stage teaches all others. ``'next'``: each stage teaches the one before.
        beta: Exponent of the quality focal loss: 0 or >= 1.
        rotations: Whether the heads also learn the three quarter turns of each image, each with labels of its own
            (joint labels, SLA, arXiv 1910.05872). It takes three more passes of the backbone.
        presence_weight: Factor of ``loss_presence``.
        stage_weight: Factor of ``loss_stage``; with 0 it is left out.
        weight, key: See :class:`~kd_plugins.distillers.base.BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names: tuple[str, ...] = ('loss_presence', 'loss_stage')

    def __init__(
        self,
        stages: str = 'backbone.layer*',
        width: int = 128,
        teacher: str = 'deepest',
        beta: float = 2.0,
        rotations: bool = False,
        presence_weight: float = 1.0,
        stage_weight: float = 1.0,
        weight: float | dict[str, Any] = 1.0,
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, 'student', key)
        self.stages = stages
        self.width = check_integer(f'{key}.width', width, 1, 'valid: a number of channels, such as 128', 128)
        self.teacher = check_choice(f'{key}.teacher', teacher, TEACHERS)
        self.beta = check_number(f'{key}.beta', beta, positive=False, example=2.0)
        if 0 < self.beta < 1:
            raise ConfigError(f'{key}.beta is {beta}, between 0 and 1, where the gradient has no bound; use 0 or 2.0')
        self.rotations = check_flag(f'{key}.rotations', rotations)
        self.presence_weight = check_number(f'{key}.presence_weight', presence_weight, positive=True)
        self.stage_weight = check_number(f'{key}.stage_weight', stage_weight, positive=False)
        if self.stage_weight == 0:
            self.loss_names = ('loss_presence',)
        self.num_classes = 0
        """Number of classes, known after :meth:`check_models`."""
        self.heads = nn.ModuleList()
        self._order: list[int] = []

    @property
    def turns(self) -> int:
        """Number of rotations in use, 1 without ``rotations``."""
        return TURNS if self.rotations else 1

    @property
    def needs_labels(self) -> str | None:
        """Return that the heads do."""
        return "StageClassDistiller teaches by labels; use on='labelled'"

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the stages."""
        return {'stages': self.stages}

    def teacher_taps(self) -> dict[str, str]:
        """Return no taps: a deeper stage teaches."""
        return {}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Read the number of classes from the student's head."""
        count = class_count(student)
        if count is None:
            raise ConfigError(
                f'{self.key}: {type(student).__name__} has no head with num_classes, so its images have no classes; '
                'nearest: FeatureDistiller on the stages'
            )
        if self.rotations and not self.stages.startswith('backbone.'):
            raise ConfigError(
                f"{self.key}.rotations is True, which runs the backbone alone, and {self.key}.stages is '{self.stages}'"
                "; use stages below it, such as 'backbone.layer*', or rotations=False"
            )
        self.num_classes = count

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Order the stages by depth and create their heads."""
        unordered = student_outputs['stages']
        self._order = depth_order(f'{self.key}.stages', unordered, growing=False, given=False)
        levels = self._ordered(unordered)
        if len(levels) < 2 or levels[0].ndim != 4:
            raise ConfigError(
                f"{self.key}.stages: '{self.stages}' gives {[tuple(x.shape) for x in levels]}; name at least two "
                "stages with maps (N, C, H, W), such as 'backbone.layer*'"
            )
        deepest = levels[-1].shape[2]
        self.heads = nn.ModuleList(
            StageHead(
                x.shape[1],
                self.width,
                self.num_classes * self.turns,
                1 + max(0, round(math.log2(x.shape[2] / max(deepest, 1)))),
            )
            for x in levels
        ).to(levels[0].device)

    def _ordered(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [levels[index] for index in self._order]

    def query_student(self, model: nn.Module, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> Taps:
        """Return the maps of the stages for the turned images; nothing without ``rotations``."""
        answers: dict[str, list[Tensor]] = {}
        for turn in range(1, self.turns):
            taps = TapSet(model, {f'{self.key}.stages': self.stages})
            try:
                taps.start()
                model.get_submodule('backbone')(torch.rot90(batch.inputs, turn, (2, 3)))
                taps.stop()
                answers[f'turn.{turn}'] = taps.read(self.stages)
            finally:
                taps.remove()
        return answers

    def _mask(self, batch: Batch) -> Tensor | None:
        """Return which pixels lie on the images, (N, 1, H, W), None where no image has padding."""
        if not isinstance(batch.inputs, Tensor) or batch.inputs.ndim != 4:
            return None
        (mask,) = positions_on_images([batch.inputs], batch)
        return None if mask is None else mask.view(len(mask), 1, *batch.inputs.shape[2:])

    def logits(self, levels: Sequence[Tensor], mask: Tensor | None = None) -> list[Tensor]:
        """Return the logits of each stage, (N, classes * rotations), the deepest last.

        Args:
            levels: Maps of the stages in the order of the tap.
            mask: Which pixels lie on the images, (N, 1, H, W); None for all.
        """
        return [head(x, mask) for head, x in zip(self.heads, self._ordered(levels))]

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_presence`` and ``loss_stage``."""
        mask, like = self._mask(batch), student_outputs['stages'][0]
        present = present_classes(batch, self.num_classes, like.detach(), self.key)
        turned, targets = [], []
        for turn in range(self.turns):
            levels = student_outputs[f'turn.{turn}' if turn else 'stages']
            turned.append(self.logits(levels, None if mask is None else torch.rot90(mask, turn, (2, 3))))
            targets.append(turned_target(present, turn, self.turns))
        stages = [torch.cat(list(logits)) for logits in zip(*turned)]
        losses = {'loss_presence': self.presence_weight * presence_loss(stages, torch.cat(targets))}
        if self.stage_weight > 0:
            losses['loss_stage'] = self.stage_weight * stage_loss(stages, self.teacher, self.beta)
        return losses
