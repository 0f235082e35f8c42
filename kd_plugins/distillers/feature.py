"""Distil intermediate features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapters import infer_adapter
from ..errors import ConfigError, check_known
from ..losses import channel_wise_kl, feature_cosine, feature_loss, feature_mse
from ..losses.feature import MSE_REDUCTIONS, FeatureLoss
from ..registry import MODELS
from ..utils.checks import check_levels, check_number
from .base import BaseDistiller, Batch, Taps

KINDS = ('mse', 'cosine', 'channel_wise')
RESIZES = ('bilinear', 'nearest', 'area')


@MODELS.register_module()
class FeatureDistiller(BaseDistiller):
    """Distance between feature maps, level by level.

    Args:
        student_tap: Tap of the student, tensors (N, C, *spatial), or (N, L, C) with ``channel_dim=-1``.
        teacher_tap: Tap of the one who teaches; ``None`` is the same path.
        kind: ``'mse'``, ``'cosine'`` or ``'channel_wise'`` (see :mod:`kd_plugins.losses.feature`).
        temperature: Softens the distributions over positions; only for ``'channel_wise'``.
        adapter: ``'auto'`` maps the student's channels where they differ from the teacher's; ``None`` never; a config
            such as ``dict(type='kd_plugins.PointwiseAdapter')`` is built once per level, with ``in_channels`` and
            ``out_channels`` filled in where it has none.
        resize: How the student's map takes the teacher's spatial size: ``None`` (sizes must agree), ``'bilinear'``
            (linear in any number of dimensions), ``'nearest'`` or ``'area'``.
        channel_dim: Dimension of the channels.
        reduction: Within an image, for ``'mse'``: ``'mean'``, or ``'sum'`` over channels and positions as in DWPose;
            then comes the mean over levels and images.
        weight: See :class:`BaseDistiller`.
        source: See :class:`BaseDistiller`.

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
    ) -> None:
        super().__init__(weight, source)
        self.student_tap = student_tap
        self.teacher_tap = teacher_tap or student_tap
        self.kind = check_known(f'{self.key}.kind', kind, KINDS)
        self.temperature = check_number(f'{self.key}.temperature', temperature, positive=True)
        if not (adapter in (None, 'auto') or (isinstance(adapter, dict) and 'type' in adapter)):
            raise ConfigError(
                f"{self.key}.adapter is {adapter!r}; valid: 'auto', None, dict(type='kd_plugins.PointwiseAdapter')"
            )
        self.adapter = adapter
        self.resize = None if resize is None else check_known(f'{self.key}.resize', resize, RESIZES)
        if not isinstance(channel_dim, int) or channel_dim == 0:
            raise ConfigError(f'{self.key}.channel_dim is {channel_dim!r}; valid: 1 for (N, C, ...), -1 for (N, L, C)')
        self.channel_dim = channel_dim
        self.reduction = check_known(f'{self.key}.reduction', reduction, MSE_REDUCTIONS)
        if reduction == 'sum' and kind != 'mse':
            raise ConfigError(
                f"{self.key}.reduction is 'sum' with kind='{kind}', which is a mean by definition; "
                "use reduction='mean' or kind='mse'"
            )
        self.adapters = nn.ModuleList()

    def student_taps(self) -> dict[str, str]:
        """Return the tap of the student's features."""
        return {'student_tap': self.student_tap}

    def teacher_taps(self) -> dict[str, str]:
        """Return the tap of the features that teach."""
        return {'teacher_tap': self.teacher_tap}

    def check_models(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a layer that would teach itself."""
        if teacher is student and self.student_tap == self.teacher_tap:
            raise ConfigError(
                f"{self.key}: '{self.student_tap}' would teach itself; give a teacher, for example "
                "teacher=dict(type='kd_plugins.EMATeacher'), or the path of a deeper layer in 'teacher_tap'"
            )

    def initialize(self, student: Taps, teacher: Taps) -> None:
        """Check the shapes and make the adapters."""
        ours, theirs = student['student_tap'], teacher['teacher_tap']
        check_levels(f'{self.key}.student_tap', ours, theirs, 'features')
        self.adapters = nn.ModuleList(self._adapter(s, t) for s, t in zip(ours, theirs))
        with torch.no_grad():
            self.adapters.eval()
            for level, (adapter, s, t) in enumerate(zip(self.adapters, ours, theirs)):
                self._check_adapted(level, adapter(s.detach()), t)
            self.adapters.train()

    def _channels(self, x: Tensor) -> int:
        if not -x.ndim < self.channel_dim < x.ndim:
            raise ConfigError(
                f'{self.key}.channel_dim is {self.channel_dim} and a feature has shape {tuple(x.shape)}; '
                f'valid: 1 to {x.ndim - 1}'
            )
        return x.shape[self.channel_dim]

    def _adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        channels = self._channels(student), self._channels(teacher)
        if self.kind == 'channel_wise' and student.ndim < 3:
            raise ConfigError(
                f"{self.key}.kind is 'channel_wise', which compares positions, and a feature of shape "
                f"{tuple(student.shape)} has none; use kind='mse' or 'cosine'"
            )
        if self.adapter is None:
            if channels[0] != channels[1]:
                raise ConfigError(
                    f'{self.key}.adapter is None, and the student has {channels[0]} channels where the teacher has '
                    f"{channels[1]}; use adapter='auto'"
                )
            return nn.Identity()
        if not isinstance(self.adapter, dict):
            return infer_adapter(student.shape, teacher.shape, self.channel_dim).to(student.device)
        config = {'in_channels': channels[0], 'out_channels': channels[1], **self.adapter}
        for name, role, found in zip(('in_channels', 'out_channels'), ('student', 'teacher'), channels):
            if config[name] != found:
                raise ConfigError(
                    f'{self.key}.adapter.{name} is {config[name]} and the {role} has {found} channels; '
                    f'use {name}={found}, or leave it out'
                )
        try:
            adapter: nn.Module = MODELS.build(config)
        except (KeyError, TypeError) as error:
            raise ConfigError(f'{self.key}.adapter: {str(error).splitlines()[0]}') from error
        return adapter.to(student.device)

    def _check_adapted(self, level: int, student: Tensor, teacher: Tensor) -> None:
        shapes = f'{tuple(student.shape)} and the teacher {tuple(teacher.shape)}'
        if student.ndim != teacher.ndim or self._channels(student) != self._channels(teacher):
            raise ConfigError(
                f'{self.key}.adapter: at level {level} it gives {shapes}; it must give the channels of the teacher'
            )
        if self._spatial(student) != self._spatial(teacher):
            if self.resize is None:
                raise ConfigError(
                    f'{self.key}.resize is None, and at level {level} the student has shape {shapes}; '
                    "set resize='bilinear'"
                )
            if self.channel_dim != 1 or student.ndim < 3:
                raise ConfigError(
                    f"{self.key}.resize is '{self.resize}', which needs features of shape (N, C, *spatial), and at "
                    f'level {level} the student has shape {shapes}; tap layers whose outputs have the same length'
                )

    def _spatial(self, x: Tensor) -> Sequence[int]:
        sizes = list(x.shape[1:])
        del sizes[self.channel_dim % x.ndim - 1]
        return sizes

    def _resized(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self._spatial(student) == self._spatial(teacher) or self.resize is None:
            return student
        linear = {3: 'linear', 4: 'bilinear', 5: 'trilinear'}
        mode = linear[student.ndim] if self.resize == 'bilinear' else self.resize
        return F.interpolate(
            student, teacher.shape[2:], mode=mode, align_corners=False if self.resize == 'bilinear' else None
        )

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_feat``."""
        theirs = teacher['teacher_tap']
        adapted = [adapter(s) for adapter, s in zip(self.adapters, student['student_tap'])]
        ours = [self._resized(s, t) for s, t in zip(adapted, theirs)]
        per_image: dict[str, FeatureLoss] = {
            'mse': partial(feature_mse, reduction=self.reduction),
            'cosine': partial(feature_cosine, dim=self.channel_dim),
            'channel_wise': partial(channel_wise_kl, temperature=self.temperature, dim=self.channel_dim),
        }
        return {'loss_feat': feature_loss(ours, theirs, per_image[self.kind])}
