"""Checks of arguments and shapes; each raises one sentence that names the config key and a valid choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from torch import Tensor

from ..errors import ConfigError, nearest
from .argument_types import shown


def check_choice(key: str, value: str, choices: Sequence[str]) -> str:
    """Return a value that is one of the choices.

    Args:
        key: Config key for the error sentence.
        value: Value in the config.
        choices: All valid values.

    Raises:
        ConfigError: If it is none of them, naming the nearest.

    >>> check_choice('reduction', 'mean', ['mean', 'sum'])
    'mean'
    """
    if value not in choices:
        raise ConfigError(f'{key} is {shown(value)}; {nearest(str(value), choices, 6)}')
    return value


def check_flag(key: str, value: bool) -> bool:
    """Return a value that is True or False.

    Raises:
        ConfigError: If it is something else.

    >>> check_flag('distillers.x.pool', True)
    True
    """
    if not isinstance(value, bool):
        raise ConfigError(f'{key} is {shown(value)}; valid: True, False')
    return value


def is_integer(value: Any) -> TypeGuard[int]:
    """Return whether a value is an integer, which True and False are not.

    >>> is_integer(3), is_integer(True), is_integer(3.0)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def check_integer(key: str, value: Any, minimum: int, advice: str, maximum: int = 2**31) -> int:
    """Return an integer from ``minimum`` to ``maximum``.

    Args:
        key: Config key for the error sentence.
        value: Value in the config.
        minimum: Smallest valid value.
        advice: End of the error sentence: the valid values.
        maximum: Largest valid value; a mistyped size must not ask for more memory than a machine has.

    Raises:
        ConfigError: If it is not such an integer.

    >>> check_integer('distillers.x.chunk', 8, 1, 'valid: None, 16384')
    8
    """
    if not is_integer(value) or not minimum <= value <= maximum:
        raise ConfigError(f'{key} is {shown(value)}; {advice}')
    return value


def check_number(key: str, value: float, positive: bool, example: float = 1.0) -> float:
    """Return a finite number as a float.

    Args:
        key: Config key for the error sentence.
        value: Value in the config.
        positive: Whether 0 is refused.
        example: A usual value, for the error sentence.

    Raises:
        ConfigError: If it is not a finite number, or is negative, or is 0 and ``positive``.

    >>> check_number('distillers.x.temperature', 5, positive=True)
    5.0
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        bound = '> 0' if positive else '>= 0'
        raise ConfigError(f'{key} is {shown(value)}; it must be a finite number {bound}, such as {example}')
    return float(value)


def check_channel_dim(key: str, value: int) -> int:
    """Return the dimension of channels or classes, which is any but the first.

    Raises:
        ConfigError: If it is not an integer, or is 0, the dimension of the images.

    >>> check_channel_dim('distillers.x.channel_dim', -1)
    -1
    """
    if not is_integer(value) or value == 0:
        raise ConfigError(f'{key} is {shown(value)}; valid: 1 for (N, C, ...), -1 for (N, L, C)')
    return value


def channel_count(key: str, x: Tensor, dim: int, name: str) -> int:
    """Return the number of channels or classes of a tensor.

    Args:
        key: Config key of ``dim`` for the error sentence.
        x: Tensor of shape (N, ...).
        dim: Dimension from :func:`check_channel_dim`.
        name: Name of the tensor for the error sentence.

    Raises:
        ConfigError: If the tensor has no such dimension, or it is that of the images.
    """
    if not -x.ndim < dim < x.ndim:
        raise ConfigError(f'{key} is {dim} and {name} has shape {tuple(x.shape)}; valid: 1 to {x.ndim - 1}')
    return x.shape[dim]


def check_adapter(key: str, value: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """Return ``'auto'``, None, or the config of an adapter.

    Raises:
        ConfigError: If it is something else.

    >>> check_adapter('distillers.x.adapter', 'auto')
    'auto'
    """
    if not (value in (None, 'auto') or (isinstance(value, dict) and 'type' in value)):
        raise ConfigError(f"{key} is {shown(value)}; valid: 'auto', None, dict(type='kd_plugins.PointwiseAdapter')")
    return value


def check_module_paths(key: str, value: Any, example: Sequence[str]) -> list[str]:
    """Return a list of module paths.

    Args:
        key: Config key for the error sentence.
        value: What the config gives.
        example: A valid list, for the error sentence.

    Raises:
        ConfigError: If it is no list of words, or an empty one.

    >>> check_module_paths('key', ('neck', 'bbox_head'), ['head'])
    ['neck', 'bbox_head']
    """
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(one, str) and one for one in value):
        raise ConfigError(f'{key} is {shown(value)}; give a list of module paths, for example {list(example)}')
    return list(value)


def check_levels(key: str, student: Sequence[Tensor], teacher: Sequence[Tensor], name: str) -> None:
    """Check that student and teacher give equally many tensors, each with equally many dimensions.

    Args:
        key: Config key for the error sentence.
        student: Outputs of the student's tap.
        teacher: Outputs of the teacher's tap.
        name: Name of the outputs, in the plural.

    Raises:
        ConfigError: If they do not.
    """
    if len(student) != len(teacher):
        raise ConfigError(
            f'{key}: the student gives {len(student)} {name} and the teacher {len(teacher)}; '
            'tap equally many layers or levels of both'
        )
    for level, (s, t) in enumerate(zip(student, teacher)):
        if s.ndim != t.ndim:
            raise ConfigError(
                f'{key}: {name}[{level}] of the student have shape {tuple(s.shape)} and those of the teacher '
                f'{tuple(t.shape)}; tap layers whose outputs have the same number of dimensions'
            )


def check_same_size(key: str, student: Sequence[Tensor], teacher: Sequence[Tensor], advice: str) -> None:
    """Check that student and teacher agree in every shape.

    Args:
        key: Config key for the error sentence.
        student: Outputs of the student's tap.
        teacher: Outputs of the teacher's tap, equally many.
        advice: End of the error sentence.

    Raises:
        ConfigError: If they do not.
    """
    for level, (s, t) in enumerate(zip(student, teacher)):
        if s.shape != t.shape:
            raise ConfigError(
                f'{key}: level {level} of the student has shape {tuple(s.shape)} and that of the teacher '
                f'{tuple(t.shape)}; {advice}'
            )
