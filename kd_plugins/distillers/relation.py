"""Distillation of relations between positions."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import affinity_loss, context_loss
from ..losses.affinity import PAIRS
from ..ops.resizing import without_padding
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.checks import check_choice, check_integer, check_levels, check_number
from .base import Batch, Taps
from .locations import positions_on_images
from .paired import PairedDistiller, TapPair
from .token_relations import TokenRelations

READ = {
    'affinity': ('pairs', 'temperature', 'size'),
    'context': ('size',),
    'attention': ('relations', 'heads'),
}
"""Kind to the settings that it reads."""


@MODELS.register_module()
class RelationDistiller(PairedDistiller):
    """Difference of how positions relate to each other in the features of both networks.

    * ``kind='affinity'``: divergence of the cosine similarities between positions, as softmax distributions
      (:func:`kd_plugins.losses.affinity_loss`; CIRKD, arXiv 2204.06986).
    * ``kind='context'``: squared difference of the softmax distributions of their products
      (:func:`kd_plugins.losses.context_loss`; TRG, arXiv 2306.12442).
    * ``kind='attention'``: divergence of the relations of queries, keys and values in an attention layer
      (:func:`kd_plugins.losses.token_relation_loss`; MiniLM, arXiv 2002.10957 and 2012.15828).

    The maps of the first two are averaged to at most ``size`` x ``size`` cells first, so that student and teacher may
    differ in resolution as well as in channels. Positions on padding count for nothing, except tokens without a grid.

    Args:
        student_tap: Tap of the student's features, one map (N, C, H, W) per level. For ``'attention'``, the layers that
            make queries, keys and values: tokens (N, L, 3 * C), windows of tokens, or a map (N, 3 * C, H, W).
        teacher_tap: Tap of the teacher's features; None is the same path.
        kind: ``'affinity'``, ``'context'`` or ``'attention'``.
        pairs: ``'image'`` compares the positions of each image, ``'batch'`` those of every pair of images of all ranks.
            Only for ``'affinity'``.
        temperature: Temperature of the distributions; only for ``'affinity'``.
        size: Largest number of rows and of columns of a map, at most 64; memory grows with its fourth power. Not for
            ``'attention'``.
        relations: Pairs of parts that are compared, of :data:`kd_plugins.losses.token_relations.RELATIONS`; only for
            ``'attention'``. None: ``['query-query', 'key-key', 'value-value']``.
        heads: Number of relation heads, a divisor of the widths of both networks; only for ``'attention'``. None is the
            number of attention heads, where it is the same in both.
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
        relations: list[str] | None = None,
        heads: int | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__([TapPair.of('student_tap', student_tap, 'teacher_tap', teacher_tap)], weight, source, key)
        self.kind = check_choice(f'{key}.kind', kind, tuple(READ))
        self.relates = check_choice(f'{key}.pairs', pairs, PAIRS)
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True, example=0.1)
        self.size = check_integer(f'{key}.size', size, 2, 'valid: an integer from 2 to 64, such as 32', 64)
        given = {
            'pairs': None if pairs == 'image' else pairs,
            'temperature': None if temperature == 0.1 else temperature,
            'size': None if size == 32 else size,
            'relations': relations,
            'heads': heads,
        }
        for name, value in given.items():
            if value is not None and name not in READ[kind]:
                kinds = ' or '.join(f"'{other}'" for other, names in READ.items() if name in names)
                raise ConfigError(
                    f"{key}.{name} is {shown(value)} with kind='{kind}', which does not read it; leave it out, or use "
                    f'kind={kinds}'
                )
        self.attention = TokenRelations(key, relations, heads) if kind == 'attention' else None

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself, and read the heads of attention layers."""
        super().check_models(student, teacher)
        if self.attention is not None:
            pair = self.pairs[0]
            self.attention.check_models(student, pair.student_path, teacher, pair.teacher_path)

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check that the features are maps with more than one position, or tokens of attention layers."""
        levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        check_levels(f'{self.key}.student_tap', *levels, 'features')
        if self.attention is not None:
            self.attention.check_outputs(*levels)
            return
        for pair, features in zip(('student_tap', 'teacher_tap'), levels):
            for feature in features:
                if feature.ndim != 4 or feature.shape[2] * feature.shape[3] < 2:
                    raise ConfigError(
                        f'{self.key}.{pair}: a feature has shape {tuple(feature.shape)}; tap a map (N, C, H, W) of '
                        "several positions, or read tokens as one, such as 'backbone.norm@32x32'"
                    )
        single = next((feature for feature in levels[0] if feature.shape[1] == 1), None)
        if single is not None and self.kind == 'affinity':
            raise ConfigError(
                f"{self.key}.kind is 'affinity', which compares directions of channel vectors, and a feature of the "
                f'student of shape {tuple(single.shape)} has one channel, which has no gradient there; use '
                "kind='context'"
            )

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_relation``."""
        levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        if self.attention is not None:
            return {'loss_relation': self.attention.loss(*levels, batch)}
        return {'loss_relation': torch.stack([self._loss(s, t, batch) for s, t in zip(*levels)]).mean()}

    def _loss(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        height, width = (min(s, t, self.size) for s, t in zip(student.shape[2:], teacher.shape[2:]))
        insides = positions_on_images([student, teacher], batch)
        (s, here), (t, there) = (
            without_padding(x.float(), inside, partial(F.adaptive_avg_pool2d, output_size=(height, width)))
            for x, inside in zip((student, teacher), insides)
        )
        valid = None if here is None or there is None else here & there
        if self.kind == 'context':
            return context_loss(s, t, valid)
        return affinity_loss(s, t, valid, self.temperature, self.relates)
