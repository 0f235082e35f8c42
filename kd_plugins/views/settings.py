"""Settings of the photometric view: presets of published methods, and checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError, nearest
from ..utils.argument_types import shown
from ..utils.checks import check_number


@dataclass(frozen=True)
class Erasing:
    """One random erasing: a rectangle of noise.

    Attributes:
        prob: Probability for each image.
        area: Least and largest share of the image's area.
        ratio: Least and largest height divided by width.
    """

    prob: float
    area: tuple[float, float]
    ratio: tuple[float, float]


@dataclass(frozen=True)
class Settings:
    """Settings of a photometric view; :class:`kd_plugins.views.PhotometricView` explains each of them."""

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter_prob: float = 0.8
    grey_prob: float = 0.2
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_prob: float = 0.5
    erasings: tuple[Erasing, ...] = ()
    min_easy: float = 0.0


PRESETS: dict[str, Settings] = {
    'unbiased_teacher': Settings(
        erasings=(
            Erasing(0.7, (0.05, 0.2), (0.3, 3.3)),
            Erasing(0.5, (0.02, 0.2), (0.1, 6.0)),
            Erasing(0.3, (0.02, 0.2), (0.05, 8.0)),
        )
    ),
    'light': Settings(blur_prob=0.0),
    'unimatch': Settings(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25),
}
"""``'unbiased_teacher'``: strong augmentation of Unbiased Teacher (arXiv 2102.09480, released code) and Dense Teacher
(arXiv 2207.02541). ``'light'``: its colours, without blur and erasing. ``'unimatch'``: colours and blur of UniMatch
(arXiv 2208.09910, released code), whose CutMix is a view of its own, :class:`kd_plugins.views.CutMix`."""


def read_settings(preset: str, overrides: Mapping[str, Any], key: str) -> Settings:
    """Return the settings of a preset with some of them replaced.

    Args:
        preset: Name in :data:`PRESETS`.
        overrides: Settings by name; None keeps the one of the preset.
        key: Config key of the view, for error sentences.

    Raises:
        ConfigError: If the preset is unknown or a setting is out of range.

    >>> read_settings('light', dict(grey_prob=0.5, hue=None), 'student_view').grey_prob
    0.5
    """
    if preset not in PRESETS:
        raise ConfigError(f'{key}.preset is {shown(preset)}; {nearest(preset, PRESETS)}')
    given = {name: value for name, value in overrides.items() if value is not None}
    for name, value in given.items():
        place = f'{key}.{name}'
        if name == 'erasings':
            given[name] = _check_erasings(place, value)
        elif name == 'blur_sigma':
            given[name] = _check_range(place, value, 0.0, 100.0, (0.1, 2.0))
        elif name == 'hue':
            given[name] = _check_at_most(place, value, 0.5, 0.1)
        elif name in ('brightness', 'contrast', 'saturation'):
            given[name] = check_number(place, value, positive=False, example=0.4)
        else:
            given[name] = _check_at_most(place, value, 1.0, 0.5)
    return replace(PRESETS[preset], **given)


def _check_at_most(key: str, value: Any, largest: float, example: float) -> float:
    number = check_number(key, value, positive=False, example=example)
    if number > largest:
        raise ConfigError(f'{key} is {shown(value)}; it must be at most {largest:g}, such as {example}')
    return number


def _check_range(
    key: str, value: Any, least: float, largest: float, example: tuple[float, float], positive: bool = False
) -> tuple[float, float]:
    """Return the two numbers of an interval, in order and between ``least`` and ``largest``."""
    numbers = isinstance(value, Sequence) and len(value) == 2
    numbers = numbers and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value)
    if not numbers or not least <= value[0] <= value[1] <= largest or (positive and value[0] <= 0):
        bound = f'from {least:g} to {largest:g}' if math.isfinite(largest) else 'greater than 0'
        raise ConfigError(f'{key} is {shown(value)}; it must be two numbers in order, {bound}, such as {example}')
    return float(value[0]), float(value[1])


def _check_erasings(key: str, value: Any) -> tuple[Erasing, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise ConfigError(
            f'{key} is {shown(value)}; give a list such as [dict(prob=0.5, area=(0.02, 0.2), ratio=(0.3, 3.3))], or []'
        )
    return tuple(check_erasing(f'{key}[{index}]', one) for index, one in enumerate(value))


def check_erasing(key: str, value: Any) -> Erasing:
    """Return the settings of one rectangle.

    Args:
        key: Config key, for error sentences.
        value: ``dict(prob=..., area=..., ratio=...)``.

    Raises:
        ConfigError: If a setting is missing, unknown or out of range.
    """
    if isinstance(value, Erasing):
        return value
    names = ('prob', 'area', 'ratio')
    if not isinstance(value, Mapping):
        raise ConfigError(f'{key} is {shown(value)}; give dict(prob=0.5, area=(0.02, 0.2), ratio=(0.3, 3.3))')
    for name in value:
        if name not in names:
            raise ConfigError(f'{key} has no setting {shown(name)}; {nearest(name, names)}')
    for name in names:
        if name not in value:
            raise ConfigError(f'{key} has no {name}; give dict(prob=0.5, area=(0.02, 0.2), ratio=(0.3, 3.3))')
    area = _check_range(f'{key}.area', value['area'], 0.0, 1.0, (0.02, 0.2))
    if area[1] == 0.0 or area[0] == 1.0:
        raise ConfigError(
            f'{key}.area is {shown(value["area"])}, a share that no rectangle inside an image has; give two numbers '
            'between 0 and 1, such as (0.02, 0.2)'
        )
    return Erasing(
        _check_at_most(f'{key}.prob', value['prob'], 1.0, 0.5),
        area,
        _check_range(f'{key}.ratio', value['ratio'], 0.0, math.inf, (0.3, 3.3), positive=True),
    )
