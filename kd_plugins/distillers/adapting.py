"""Adapters of a distiller's levels, made from the shapes of a first pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters import RandomAdapter, infer_adapter
from ..errors import ConfigError
from ..registry import MODELS
from ..utils.argument_types import shown
from ..utils.build import build, first_line
from ..utils.checks import channel_count
from .base import Batch

Setting = str | dict[str, Any] | None
"""``'auto'``, None, or the config of an adapter, as :func:`kd_plugins.utils.checks.check_adapter` returns it."""


def make_adapters(
    key: str,
    setting: Setting,
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    channel_dim: int = 1,
    bias: bool = True,
) -> tuple[nn.ModuleList, list[Tensor]]:
    """Return one adapter for each level, in train mode, and the adapted features of the student, without gradient.

    Args:
        key: Config key of the distiller, for error sentences.
        setting: ``'auto'`` maps the student's channels where their number differs; None never does; a config is built
            once per level, with ``in_channels`` and ``out_channels`` filled in where they are missing.
        student: Feature of each level, (N, C, *spatial) or with the channels in ``channel_dim``.
        teacher: Feature of each level, equally many, with equally many dimensions.
        channel_dim: Dimension of the channels.
        bias: Whether an adapter that ``'auto'`` makes has a bias.

    Raises:
        ConfigError: If the setting does not fit the features.

    >>> adapters, (adapted,) = make_adapters('x', 'auto', [torch.zeros(1, 4, 2, 2)], [torch.zeros(1, 8, 2, 2)])
    >>> adapted.shape
    torch.Size([1, 8, 2, 2])
    """
    adapters = nn.ModuleList(_new_adapter(key, setting, s, t, channel_dim, bias) for s, t in zip(student, teacher))
    adapters.eval()
    with torch.no_grad():
        adapted = [_adapted(key, setting, adapter, s.detach()) for adapter, s in zip(adapters, student)]
    for level, (x, t) in enumerate(zip(adapted, teacher)):
        if x.ndim != t.ndim or _channels(key, x, channel_dim) != _channels(key, t, channel_dim):
            raise ConfigError(
                f'{key}.adapter: at level {level} it gives {tuple(x.shape)} and the teacher {tuple(t.shape)}; it must '
                'give the channels of the teacher'
            )
    adapters.train()
    return adapters, adapted


def adapt(
    adapters: Iterable[nn.Module], levels: Sequence[Tensor], insides: Sequence[Tensor | None], batch: Batch, key: str
) -> list[Tensor]:
    """Return the adapted features of every level; a ``RandomAdapter`` gets a seed of its own and the place of padding.

    Args:
        adapters: The adapters of :func:`make_adapters`.
        levels: The student's feature of each level.
        insides: For each level, booleans over its positions, False on padding, or None, see
            :func:`~kd_plugins.distillers.locations.positions_on_images`.
        batch: The batch, whose seed and iteration the random numbers depend on.
        key: Config key of the distiller, so that every distiller draws other numbers.
    """
    adapted = []
    for level, (adapter, feature, inside) in enumerate(zip(adapters, levels, insides)):
        if isinstance(adapter, RandomAdapter):
            adapter.seed = batch.draw_seed(key, level)
            adapter.on_images = None if inside is None else inside.view(len(feature), 1, *feature.shape[2:])
        adapted.append(adapter(feature))
    return adapted


def _channels(key: str, feature: Tensor, channel_dim: int) -> int:
    return channel_count(f'{key}.channel_dim', feature, channel_dim, 'a feature')


def _new_adapter(
    key: str, setting: Setting, student: Tensor, teacher: Tensor, channel_dim: int, bias: bool
) -> nn.Module:
    channels = {role: _channels(key, x, channel_dim) for role, x in (('student', student), ('teacher', teacher))}
    if setting is None:
        if channels['student'] != channels['teacher']:
            raise ConfigError(
                f'{key}.adapter is None, and the student has {channels["student"]} channels where the teacher has '
                f"{channels['teacher']}; use adapter='auto'"
            )
        return nn.Identity()
    if not isinstance(setting, dict):
        return infer_adapter(student.shape, teacher.shape, channel_dim, bias).to(student.device)
    for argument, role in (('in_channels', 'student'), ('out_channels', 'teacher')):
        given = setting.get(argument, channels[role])
        if given != channels[role]:
            raise ConfigError(
                f'{key}.adapter.{argument} is {given} and the {role} has {channels[role]} channels; '
                f'use {argument}={channels[role]}, or leave it out'
            )
    arguments = {'in_channels': channels['student'], 'out_channels': channels['teacher']}
    return build(MODELS, setting, nn.Module, f'{key}.adapter', **arguments).to(student.device)


def _adapted(key: str, setting: Setting, adapter: nn.Module, feature: Tensor) -> Tensor:
    try:
        adapted: Tensor = adapter(feature)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ConfigError(
            f'{key}.adapter is {shown(setting)}, which cannot take a feature of shape {tuple(feature.shape)}: '
            f'{first_line(error)}'
        ) from error
    return adapted
