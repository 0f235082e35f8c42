"""Divergences of class scores that look at many locations together, or at the label of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, nearest
from ..losses import dist_loss, dkd_loss, nkd_loss
from ..utils.argument_types import shown
from ..utils.checks import check_choice, check_number
from .base import Batch
from .locations import counted_locations, location_labels, location_rows
from .paired import module_above

FACTORS: dict[str, dict[str, float]] = {
    'kl': {},
    'dist': {'inter': 1.0, 'intra': 1.0},
    'nkd': {'target': 1.0, 'others': 1.5},
    'dkd': {'target': 1.0, 'others': 1.0},
}
"""Divergence to its parts, with their default factors."""
LABELLED = {'nkd': nkd_loss, 'dkd': dkd_loss}
"""Divergences that need a label of each location."""


def check_factors(key: str, factors: Any, defaults: Mapping[str, float]) -> dict[str, float]:
    """Return the factor of each part of a divergence.

    Args:
        key: Config key for the error sentence.
        factors: A dict of the factors that differ from the default, or None.
        defaults: Name of each part to its default.

    Raises:
        ConfigError: If it is something else, or every factor is 0.

    >>> check_factors('distillers.x.factors', {'intra': 2}, FACTORS['dist'])
    {'inter': 1.0, 'intra': 2.0}
    """
    example = ', '.join(f'{name}={value}' for name, value in defaults.items())
    if factors is not None and not isinstance(factors, Mapping):
        raise ConfigError(f'{key} is {shown(factors)}; valid: None, dict({example})')
    for name in factors or {}:
        if name not in defaults:
            raise ConfigError(f"{key} has the entry '{name}'; {nearest(name, defaults)}")
    given = {name: check_number(f'{key}.{name}', value, positive=False) for name, value in (factors or {}).items()}
    checked = {**defaults, **given}
    if defaults and not any(checked.values()):
        raise ConfigError(f'{key}: every part has the factor 0; the defaults are dict({example})')
    return checked


def check_others(
    key: str, factors: Mapping[str, float], part: str, classes: int, advice: str = "use divergence='kl'"
) -> None:
    """Refuse a part that compares classes other than the labelled one, or all of a location, where it has no gradient.

    Args:
        key: Config key of the factors, for the error sentence.
        factors: Name of each part to its factor.
        part: Name of the part.
        classes: Number of classes.
        advice: Nearest valid choice for a head with one class.

    Raises:
        ConfigError: If there are fewer than three classes, or fewer than two without the part.
    """
    if classes < 2:
        raise ConfigError(f'{key}: classes are compared with each other, and the head predicts {classes}; {advice}')
    if factors[part] and classes < 3:
        raise ConfigError(
            f'{key}.{part} is {factors[part]} and the head predicts {classes} classes, for which this part has no '
            f'gradient; use factors=dict({part}=0.0)'
        )


def ignored_label(model: nn.Module, path: str, key: str) -> int | None:
    """Return the label of ignored pixels of the head around a tapped layer, None where the head has none.

    Args:
        model: The network.
        path: Path of the tap.
        key: Config key of the path, for error sentences.
    """
    head = module_above(model, path, key, 'student', lambda module: hasattr(module, 'ignore_index'))
    value = getattr(head, 'ignore_index', None)
    return value if isinstance(value, int) else None


def anchors_of(model: nn.Module, path: str, key: str) -> tuple[str, list[int]]:
    """Return the class of the head around a tapped layer, and its number of anchors in a cell.

    The number is one, unless levels have different ones, as those of an SSD. A head without anchors has 1.

    Args:
        model: The network.
        path: Path of the tap.
        key: Config key of the path, for error sentences.
    """
    # The names in MMDetection and in MMDetection3D.
    names = ('num_base_priors', 'num_anchors')
    head = module_above(model, path, key, 'student', lambda module: any(hasattr(module, name) for name in names))
    numbers: Any = next((getattr(head, name) for name in names if hasattr(head, name)), 1)
    return type(head).__name__, sorted(set(numbers) if isinstance(numbers, (list, tuple)) else {int(numbers)})


def check_shared(key: str, channels: int, anchors: int) -> None:
    """Refuse channels that the anchors of a cell cannot share.

    Args:
        key: Config key of the path, for the error sentence.
        channels: Number of channels.
        anchors: Number of anchors in a cell.

    Raises:
        ConfigError: If they do not divide.
    """
    if channels % anchors:
        raise ConfigError(
            f'{key}: an output has {channels} channels, which {anchors} anchors cannot share; tap the layer of the '
            'class logits'
        )


def check_kinds(key: str, name: str, factors: Any, symmetric: bool, softmax: bool, idle: Sequence[str]) -> None:
    """Check the divergence of a distiller of class scores and refuse settings that it does not read.

    Args:
        key: Config key of the distiller, for error sentences.
        name: Value of ``divergence``.
        factors: Value of ``factors``.
        symmetric: Value of ``symmetric``.
        softmax: Whether the classes of a location share one distribution.
        idle: Names of the settings that are set and that ``'kl'`` alone reads.

    Raises:
        ConfigError: If an argument does not fit.
    """
    if name == 'uskd':
        raise ConfigError(f"{key}.divergence is 'uskd', which has no teacher; use type='kd_plugins.USKDDistiller'")
    check_choice(f'{key}.divergence', name, tuple(FACTORS))
    if symmetric and (name != 'kl' or not softmax or 'target' in idle):
        raise ConfigError(
            f"{key}.symmetric is True; only divergence='kl' with activation='softmax' and target='soft' has two "
            'directions; use symmetric=False'
        )
    if name == 'kl':
        if factors is not None:
            raise ConfigError(f"{key}.factors is {shown(factors)} with divergence='kl', which has one part; use weight")
        return
    if name in LABELLED and not softmax:
        raise ConfigError(
            f"{key}.activation is 'sigmoid' with divergence='{name}'; a location of such a head may have several "
            "classes or none; use activation='softmax', or divergence='kl'"
        )
    if idle:
        raise ConfigError(
            f"{key}.{idle[0]} is set with divergence='{name}', which does not read it; leave it out, or use "
            "divergence='kl'"
        )


class Divergence:
    """A divergence of the class scores of two networks.

    Args:
        key: Config key of the distiller, for error sentences.
        name: One of :data:`FACTORS` but ``'kl'``.
        factors: Factors of its parts that differ from the default, or None.
        softmax: Whether the classes of a location share one distribution.
        temperature: Its temperature.
        class_dim: Dimension of the classes.

    Raises:
        ConfigError: If the factors do not fit.
    """

    def __init__(self, key: str, name: str, factors: Any, softmax: bool, temperature: float, class_dim: int) -> None:
        self.key, self.name = key, name
        self.factors = check_factors(f'{key}.factors', factors, FACTORS[name])
        self.softmax, self.temperature, self.class_dim = softmax, temperature, class_dim
        self.anchors = 1
        """Number of locations in a cell, known after :meth:`check_models`."""
        self.ignore_index: int | None = None
        """Label of pixels that do not count, known after :meth:`check_models`."""

    def check_models(self, student: nn.Module, path: str) -> None:
        """Read the ignored label and the number of anchors from the student's head.

        Args:
            student: The student network.
            path: Path of its class logits.

        Raises:
            ConfigError: If its levels have different numbers of anchors.
        """
        key = f'{self.key}.logits'
        self.ignore_index = ignored_label(student, path, key)
        head, (self.anchors, *others) = anchors_of(student, path, key)
        if others:
            raise ConfigError(
                f"{key}: the levels of '{path}' have {self.anchors} to {others[-1]} anchors in a cell ({head}), and "
                f"divergence='{self.name}' needs equally many; nearest: FeatureDistiller"
            )

    def check_outputs(self, levels: Sequence[Tensor]) -> None:
        """Check the outputs of the head.

        Args:
            levels: Class logits of each level.

        Raises:
            ConfigError: If its locations have no labels, or a part of the divergence has no gradient.
        """
        part = 'others' if self.name in LABELLED else 'inter'
        for level in levels:
            channels = level.shape[self.class_dim]
            if self.name in LABELLED and (level.ndim not in (2, 4) or self.class_dim not in (1, 1 - level.ndim)):
                raise ConfigError(
                    f"{self.key}.divergence is '{self.name}', and an output of shape {tuple(level.shape)} with "
                    f'class_dim={self.class_dim} has no label for each place; valid: (N, C), (N, C, H, W) with '
                    'class_dim=1'
                )
            check_shared(f'{self.key}.logits', channels, self.anchors)
            check_others(f'{self.key}.factors', self.factors, part, channels // self.anchors)

    def loss(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the value over all locations of all ranks, shape ().

        Args:
            student: Class logits of each level.
            teacher: The same of the teacher.
            batch: The batch.
        """
        s, t = (location_rows(levels, self.class_dim, self.anchors) for levels in (student, teacher))
        cells = s[:, :: self.anchors]
        corners, valid = counted_locations(student, self.class_dim, batch, cells, self.ignore_index)
        if self.name not in LABELLED:
            valid = valid.repeat_interleave(self.anchors, dim=1)
            return dist_loss(s, t, valid, self.temperature, **self.factors, softmax=self.softmax)
        labels = location_labels(batch, corners, s, f"{self.key}.divergence is '{self.name}'")
        return LABELLED[self.name](s, t, torch.where(valid, labels, -1), self.temperature, **self.factors)
