"""Distillation of relations between positions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..losses import affinity_loss
from ..losses.affinity import PAIRS
from ..registry import MODELS
from ..utils.checks import check_choice, check_integer, check_levels, check_number
from .base import Batch, Taps
from .locations import counted_locations
from .paired import PairedDistiller, TapPair

KINDS = ('affinity',)


@MODELS.register_module()
class RelationDistiller(PairedDistiller):
    """Divergence of how positions relate to each other in the features of both networks.

    ``kind='affinity'`` compares the cosine similarities between positions, as softmax distributions
    (:func:`kd_plugins.losses.affinity_loss`; CIRKD, arXiv 2204.06986). The maps are averaged to at most ``size`` x
    ``size`` cells first, so that student and teacher may differ in resolution as well as in channels. Cells on padding
    count for nothing.

    Args:
        student_tap: Tap of the student's features, one map (N, C, H, W) per level.
        teacher_tap: Tap of the teacher's features; None is the same path.
        kind: ``'affinity'``.
        pairs: ``'image'`` compares the positions of each image, ``'batch'`` those of every pair of images of all ranks.
        temperature: Temperature of the distributions.
        size: Largest number of rows and of columns of a map, at most 64; memory grows with its fourth power.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_relation',)

    def __init__(
        self,
        student_tap: str = 'decode_head.bottleneck',
        teacher_tap: str | None = None,
        kind: str = 'affinity',
        pairs: str = 'image',
        temperature: float = 0.1,
        size: int = 32,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__([TapPair.of('student_tap', student_tap, 'teacher_tap', teacher_tap)], weight, source, key)
        self.kind = check_choice(f'{key}.kind', kind, KINDS)
        self.relates = check_choice(f'{key}.pairs', pairs, PAIRS)
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True, example=0.1)
        self.size = check_integer(f'{key}.size', size, 2, 'valid: an integer from 2 to 64, such as 32', 64)

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check that the features are maps with more than one position."""
        levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        check_levels(f'{self.key}.student_tap', *levels, 'features')
        for pair, features in zip(('student_tap', 'teacher_tap'), levels):
            for feature in features:
                if feature.ndim != 4 or feature.shape[2] * feature.shape[3] < 2:
                    raise ConfigError(
                        f'{self.key}.{pair}: a feature has shape {tuple(feature.shape)}; tap a map (N, C, H, W) of '
                        "several positions, or read tokens as one, such as 'backbone.norm@32x32'"
                    )

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_relation``."""
        levels = zip(*self.pairs[0].outputs(student_outputs, teacher_outputs))
        return {'loss_relation': torch.stack([self._affinity(s, t, batch) for s, t in levels]).mean()}

    def _affinity(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        height, width = (min(s, t, self.size) for s, t in zip(student.shape[2:], teacher.shape[2:]))
        s, t = (F.adaptive_avg_pool2d(x.float(), (height, width)) for x in (student, teacher))
        places = s.flatten(2).transpose(1, 2)
        _, valid = counted_locations([s], 1, batch, places, None)
        return affinity_loss(s, t, valid, self.temperature, self.relates)
