"""Feature distillation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import channel_wise_kl, feature_cosine, feature_cosine_l1, feature_loss, feature_mse
from ..losses.feature import MSE_REDUCTIONS, FeatureLoss
from ..losses.pearson import STATISTICS, pearson_distance
from ..ops.channel_statistics import normalize_channels
from ..registry import MODELS
from ..utils.checks import (
    check_adapter,
    check_channel_dim,
    check_choice,
    check_levels,
    check_number,
)
from .adapting import adapt, make_adapters
from .base import Batch, Taps
from .locations import positions_on_images
from .paired import RESIZES, PairedDistiller, TapPair, resize_on_images

KINDS = ('mse', 'cosine', 'cosine_l1', 'channel_wise', 'pearson')
DIRECTIONS = ('cosine', 'cosine_l1')
"""Kinds that compare the directions of channel vectors."""
NORMALIZATIONS = ('batch',)


@MODELS.register_module()
class FeatureDistiller(PairedDistiller):
    """Distance between feature maps, level by level.

    Positions on the padding of an image do not count, where the features are maps (N, C, H, W) of images, and no
    resized map reads them.

    Args:
        student_tap: Tap of the student's features, tensors (N, C, *spatial), or (N, L, C) with ``channel_dim=-1``.
        teacher_tap: Tap of the teacher's features; None is the same path.
        kind: ``'mse'``, ``'cosine'``, ``'cosine_l1'`` or ``'channel_wise'`` (see :mod:`kd_plugins.losses.feature`), or
            ``'pearson'``
            (:func:`kd_plugins.losses.pearson_distance`).
        temperature: Softens the distributions over positions; only for ``'channel_wise'``.
        normalize: ``'batch'`` gives every channel of both networks mean 0 and variance 1 over the images of all ranks
            before they are compared
            (:func:`kd_plugins.ops.channel_statistics.normalize_channels`); None compares the features as they are.
            ``'pearson'`` standardizes by itself.
        stats: Positions that a channel is standardized over, for ``'pearson'``: ``'batch'``, those of the images of all
            ranks, or ``'image'``, those of each image. None is ``'batch'``.
        adapter: ``'auto'`` maps the student's channels where their number differs from the teacher's; None never does;
            a config such as ``dict(type='kd_plugins.MaskedGenerator')`` is built once per level, with ``in_channels``
            and ``out_channels`` filled in where they are missing. ``'auto'`` leaves the bias out where channels are
            standardized, as an offset then changes nothing.
        resize: Interpolation of the student's map to the teacher's spatial size: None (sizes must agree),
            ``'bilinear'`` (linear in any number of dimensions), ``'nearest'`` or ``'area'``.
        channel_dim: Dimension of the channels.
        reduction: Reduction within an image, for ``'mse'``: ``'mean'``, or ``'sum'`` over channels and positions as in
            DWPose. The mean over levels and images follows.
        weight, source, key: See :class:`BaseDistiller`.

    Raises:
        ConfigError: If an argument does not fit.
    """

    loss_names = ('loss_feat',)

    def __init__(
        self,
        student_tap: str = 'neck.fpn_convs.*',
        teacher_tap: str | None = None,
        kind: str = 'mse',
        temperature: float = 1.0,
        adapter: str | dict[str, Any] | None = 'auto',
        resize: str | None = None,
        channel_dim: int = 1,
        reduction: str = 'mean',
        normalize: str | None = None,
        stats: str | None = None,
        weight: float | dict[str, Any] = 1.0,
        source: str | list[str] = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__([TapPair.of('student_tap', student_tap, 'teacher_tap', teacher_tap)], weight, source, key)
        self.kind = check_choice(f'{key}.kind', kind, KINDS)
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True)
        self.adapter = check_adapter(f'{key}.adapter', adapter)
        self.resize = None if resize is None else check_choice(f'{key}.resize', resize, RESIZES)
        self.channel_dim = check_channel_dim(f'{key}.channel_dim', channel_dim)
        self.reduction = check_choice(f'{key}.reduction', reduction, MSE_REDUCTIONS)
        self.normalize = None if normalize is None else check_choice(f'{key}.normalize', normalize, NORMALIZATIONS)
        self.stats = 'batch' if stats is None else check_choice(f'{key}.stats', stats, STATISTICS)
        self._check_together(stats)
        self.adapters = nn.ModuleList()

    def _check_together(self, stats: str | None) -> None:
        if self.reduction == 'sum' and self.kind != 'mse':
            raise ConfigError(
                f"{self.key}.reduction is 'sum' with kind='{self.kind}', which is a mean by definition; "
                "use reduction='mean' or kind='mse'"
            )
        if self.temperature != 1.0 and self.kind != 'channel_wise':
            raise ConfigError(
                f"{self.key}.temperature is {self.temperature} with kind='{self.kind}', which has none; use "
                "temperature=1.0 or kind='channel_wise'"
            )
        if stats is not None and self.kind != 'pearson':
            raise ConfigError(
                f"{self.key}.stats is '{stats}' with kind='{self.kind}', which standardizes nothing; use stats=None or "
                "kind='pearson'"
            )
        if self.normalize is not None and self.kind == 'pearson':
            raise ConfigError(
                f"{self.key}.normalize is '{self.normalize}' with kind='pearson', which standardizes every channel by "
                "itself; use normalize=None or kind='mse'"
            )

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check the shapes and create the adapters."""
        student_levels, teacher_levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        check_levels(f'{self.key}.student_tap', student_levels, teacher_levels, 'features')
        self._check_positions(student_levels)
        bias = self.kind != 'pearson' and self.normalize is None
        self.adapters, adapted = make_adapters(
            self.key, self.adapter, student_levels, teacher_levels, self.channel_dim, bias
        )
        self._check_directions(teacher_levels)
        for level, (s, t) in enumerate(zip(adapted, teacher_levels)):
            self._check_spatial(level, s, t)

    def _check_directions(self, levels: Sequence[Tensor]) -> None:
        """Refuse features of one channel, whose sign is their only direction, where directions are compared."""
        single = next((level for level in levels if level.shape[self.channel_dim] == 1), None)
        if single is not None and self.kind in DIRECTIONS:
            raise ConfigError(
                f"{self.key}.kind is '{self.kind}', which compares directions of channel vectors, and a feature of "
                f"shape {tuple(single.shape)} has one channel, which has no gradient there; use kind='mse'"
            )

    def _check_positions(self, levels: Sequence[Tensor]) -> None:
        """Refuse features without positions, or with one at every level, where positions of an image are compared."""
        if self.kind != 'channel_wise' and self.stats != 'image':
            return
        few = [level for level in levels if level.ndim < 3 or math.prod(self._spatial(level)) == 1]
        flat = next((level for level in few if level.ndim < 3 or len(few) == len(levels)), None)
        if flat is None:
            return
        fault, advice = "stats is 'image'", "stats='batch'"
        if self.kind == 'channel_wise':
            fault, advice = "kind is 'channel_wise'", "kind='mse' or 'cosine'"
        raise ConfigError(
            f'{self.key}.{fault}, which compares positions, and a feature of shape {tuple(flat.shape)} has '
            f'{"one" if flat.ndim > 2 else "none"}; use {advice}'
        )

    def _check_spatial(self, level: int, adapted: Tensor, teacher_feature: Tensor) -> None:
        if len(adapted) != len(teacher_feature):
            raise ConfigError(
                f'{self.key}.student_tap: at level {level} the student gives {len(adapted)} samples and the teacher '
                f'{len(teacher_feature)}, as for proposals of their own; tap features of whole images, or use '
                'RoIDistiller'
            )
        if self._spatial(adapted) == self._spatial(teacher_feature):
            return
        shapes = f'{tuple(adapted.shape)} and the teacher {tuple(teacher_feature.shape)}'
        if self.resize is None:
            raise ConfigError(
                f"{self.key}.resize is None, and at level {level} the student has shape {shapes}; set resize='bilinear'"
            )
        if self.channel_dim != 1 or adapted.ndim < 3:
            raise ConfigError(
                f"{self.key}.resize is '{self.resize}', which needs features of shape (N, C, *spatial), and at "
                f'level {level} the student has shape {shapes}; tap layers whose outputs have the same length'
            )

    def _spatial(self, feature: Tensor) -> Sequence[int]:
        sizes = list(feature.shape[1:])
        del sizes[self.channel_dim % feature.ndim - 1]
        return sizes

    def forward(self, student_outputs: Taps, teacher_outputs: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_feat``."""
        student_levels, teacher_levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        every = positions_on_images([*student_levels, *teacher_levels], batch, self.channel_dim)
        insides, valid = every[: len(student_levels)], every[len(student_levels) :]
        adapted = adapt(self.adapters, student_levels, insides, batch, self.key)
        # An adapter may change the size of a map.
        known = [
            inside if s.shape[2:] == x.shape[2:] else None for s, x, inside in zip(student_levels, adapted, insides)
        ]
        pairs = [
            resize_on_images(x, t.shape[2:], self.resize, batch, inside)
            for x, t, inside in zip(adapted, teacher_levels, known)
        ]
        resized = [x for x, _ in pairs]
        # A position of a resized map that is interpolated from padding alone is not compared.
        valid = [
            mask if mask is None or reached is None else mask & reached for mask, (_, reached) in zip(valid, pairs)
        ]
        if self.kind == 'pearson':
            return {'loss_feat': pearson_distance(resized, teacher_levels, valid, self.stats, self.channel_dim)}
        if self.normalize is not None:
            normalized = normalize_channels([*resized, *teacher_levels], [*valid, *valid], self.channel_dim)
            resized, teacher_levels = normalized[: len(resized)], normalized[len(resized) :]
        per_image: dict[str, FeatureLoss] = {
            'mse': partial(feature_mse, reduction=self.reduction),
            'cosine': partial(feature_cosine, dim=self.channel_dim),
            'cosine_l1': partial(feature_cosine_l1, dim=self.channel_dim),
            'channel_wise': partial(channel_wise_kl, temperature=self.temperature, dim=self.channel_dim),
        }
        return {'loss_feat': feature_loss(resized, teacher_levels, per_image[self.kind], valid)}
