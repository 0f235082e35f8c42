"""Feature distillation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..losses import channel_wise_kl, feature_cosine, feature_loss, feature_mse
from ..losses.feature import MSE_REDUCTIONS, FeatureLoss
from ..registry import MODELS
from ..utils.checks import (
    check_adapter,
    check_channel_dim,
    check_choice,
    check_levels,
    check_number,
)
from .adapting import make_adapters
from .base import Batch, Taps
from .paired import RESIZES, PairedDistiller, TapPair, resize_map

KINDS = ('mse', 'cosine', 'channel_wise')


@MODELS.register_module()
class FeatureDistiller(PairedDistiller):
    """Distance between feature maps, level by level.

    Args:
        student_tap: Tap of the student's features, tensors (N, C, *spatial), or (N, L, C) with ``channel_dim=-1``.
        teacher_tap: Tap of the teacher's features; None is the same path.
        kind: ``'mse'``, ``'cosine'`` or ``'channel_wise'`` (see :mod:`kd_plugins.losses.feature`).
        temperature: Softens the distributions over positions; only for ``'channel_wise'``.
        adapter: ``'auto'`` maps the student's channels where their number differs from the teacher's; None never does;
            a config such as ``dict(type='kd_plugins.PointwiseAdapter')`` is built once per level, with ``in_channels``
            and ``out_channels`` filled in where they are missing.
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
        weight: float | dict[str, Any] = 1.0,
        source: str = 'auto',
        key: str = 'distillers.<name>',
    ) -> None:
        super().__init__([TapPair.of('student_tap', student_tap, 'teacher_tap', teacher_tap)], weight, source, key)
        self.kind = check_choice(f'{key}.kind', kind, KINDS)
        self.temperature = check_number(f'{key}.temperature', temperature, positive=True)
        self.adapter = check_adapter(f'{key}.adapter', adapter)
        self.resize = None if resize is None else check_choice(f'{key}.resize', resize, RESIZES)
        self.channel_dim = check_channel_dim(f'{key}.channel_dim', channel_dim)
        self.reduction = check_choice(f'{key}.reduction', reduction, MSE_REDUCTIONS)
        if reduction == 'sum' and kind != 'mse':
            raise ConfigError(
                f"{key}.reduction is 'sum' with kind='{kind}', which is a mean by definition; "
                "use reduction='mean' or kind='mse'"
            )
        self.adapters = nn.ModuleList()

    def initialize(self, student_outputs: Taps, teacher_outputs: Taps) -> None:
        """Check the shapes and create the adapters."""
        student_levels, teacher_levels = self.pairs[0].outputs(student_outputs, teacher_outputs)
        check_levels(f'{self.key}.student_tap', student_levels, teacher_levels, 'features')
        for s in student_levels:
            if self.kind == 'channel_wise' and s.ndim < 3:
                raise ConfigError(
                    f"{self.key}.kind is 'channel_wise', which compares positions, and a feature of shape "
                    f"{tuple(s.shape)} has none; use kind='mse' or 'cosine'"
                )
        self.adapters, adapted = make_adapters(self.key, self.adapter, student_levels, teacher_levels, self.channel_dim)
        for level, (s, t) in enumerate(zip(adapted, teacher_levels)):
            self._check_spatial(level, s, t)

    def _check_spatial(self, level: int, adapted: Tensor, teacher_feature: Tensor) -> None:
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
        adapted = [adapter(s) for adapter, s in zip(self.adapters, student_levels)]
        resized = [resize_map(s, t.shape[2:], self.resize) for s, t in zip(adapted, teacher_levels)]
        per_image: dict[str, FeatureLoss] = {
            'mse': partial(feature_mse, reduction=self.reduction),
            'cosine': partial(feature_cosine, dim=self.channel_dim),
            'channel_wise': partial(channel_wise_kl, temperature=self.temperature, dim=self.channel_dim),
        }
        return {'loss_feat': feature_loss(resized, teacher_levels, per_image[self.kind])}
