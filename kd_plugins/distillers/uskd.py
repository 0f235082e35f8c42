"""Self-distillation of a segmentor or classifier with an auxiliary head, without a teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import uskd_loss
from ..losses.target_split import RANK_MODES
from ..registry import MODELS
from ..utils.checks import check_choice, check_levels
from .base import BaseDistiller, Batch, Taps
from .divergences import check_factors, check_others, ignored_label
from .locations import counted_locations, location_labels, location_rows
from .paired import resize_on_images

FACTORS = {'target': 1.0, 'others': 0.1, 'weak': 0.005}
"""Parts of the loss, with the factors of the release for ImageNet."""


@MODELS.register_module()
class USKDDistiller(BaseDistiller):
    """Soft labels from the network's own confidence and from the ranking of a weak head (USKD, arXiv 2303.13005).

    There is no teacher. The auxiliary head of a segmentor is the weak head; it needs no further layers. The labels are
    those of the pixels (``gt_sem_seg``, read at the first pixel of each cell) or images (``gt_label``). See
    :func:`kd_plugins.losses.uskd_loss`.

    Args:
        logits: Tap of the class logits, (N, C) or (N, C, H, W).
        weak: Tap of the class logits of the weak head; a map of another size is resized to that of ``logits``.
        rank_mode: ``'prob'`` ranks the classes by probabilities, as in the paper; ``'logprob'`` is the released code.
        factors: Factors of the parts, by default ``dict(target=1.0, others=0.1, weak=0.005)``.
        weight, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_uskd',)

    def __init__(
        self,
        logits: str = 'decode_head.conv_seg',
        weak: str = 'auxiliary_head.conv_seg',
        rank_mode: str = 'prob',
        factors: dict[str, float] | None = None,
        weight: float | dict[str, Any] = 1.0,
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__(weight, 'student', key)
        self.paths = {'logits': logits, 'weak': weak}
        if logits == weak:
            raise ConfigError(f"{key}.weak is '{weak}', the layer of {key}.logits; give that of another head")
        self.rank_mode = check_choice(f'{key}.rank_mode', rank_mode, RANK_MODES)
        self.factors = check_factors(f'{key}.factors', factors, FACTORS)
        self.ignore_index: int | None = None
        """Label of pixels that do not count, known after :meth:`check_models`."""

    @property
    def needs_labels(self) -> str | None:
        """Return that all terms do."""
        return "USKDDistiller teaches by labels; use on='labelled'"

    def student_taps(self) -> dict[str, str]:
        """Return the taps of both heads."""
        return self.paths

    def teacher_taps(self) -> dict[str, str]:
        """Return no taps: there is no teacher."""
        return {}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Read the ignored label from the student's head."""
        self.ignore_index = ignored_label(student, self.paths['logits'], f'{self.key}.logits')

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check dimensions and classes."""
        levels, weak_levels = student_outputs['logits'], student_outputs['weak']
        check_levels(f'{self.key}.weak', levels, weak_levels, 'outputs')
        for logits, weak in zip(levels, weak_levels):
            if logits.ndim not in (2, 4):
                raise ConfigError(
                    f'{self.key}.logits: the output has shape {tuple(logits.shape)}, which has no label for each '
                    'place; valid: (N, C), (N, C, H, W)'
                )
            if logits.shape[1] != weak.shape[1]:
                raise ConfigError(
                    f'{self.key}.weak: the weak head predicts {weak.shape[1]} classes where the network predicts '
                    f'{logits.shape[1]}; tap a head that learns the same classes'
                )
            advice = 'give the network a channel for each class, the background included, or remove this distiller'
            check_others(f'{self.key}.factors', self.factors, 'others', logits.shape[1], advice)

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_uskd``."""
        levels = student_outputs['logits']
        pairs = zip(student_outputs['weak'], levels)
        weak_levels = [resize_on_images(w, s.shape[2:], 'bilinear', batch)[0] for w, s in pairs]
        student, weak = location_rows(levels), location_rows(weak_levels)
        corners, valid = counted_locations(levels, 1, batch, student, self.ignore_index)
        labels = location_labels(batch, corners, student, f'{self.key} learns from labels')
        factors = {'target': self.factors['target'], 'others': self.factors['others']}
        return {
            'loss_uskd': uskd_loss(
                student,
                weak,
                torch.where(valid, labels, -1),
                **factors,
                weak_target=self.factors['weak'],
                rank_mode=self.rank_mode,
            )
        }
