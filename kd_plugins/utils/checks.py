"""Checks that several distillers share, each ending in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..errors import ConfigError


def check_number(key: str, value: float, positive: bool) -> float:
    """Return ``value`` as a float.

    Args:
        key: Config key for the sentence.
        value: What the config gives.
        positive: Whether 0 is refused.

    Raises:
        ConfigError: If it is no finite number, or below its bound.

    >>> check_number('distillers.x.temperature', 5, positive=True)
    5.0
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        raise ConfigError(f'{key} is {value!r}; it must be a finite number {">" if positive else ">="} 0, such as 1.0')
    return float(value)


def check_levels(key: str, student: Sequence[Tensor], teacher: Sequence[Tensor], what: str) -> None:
    """Check that student and teacher gave equally many tensors, each with equally many dimensions.

    Args:
        key: Config key for the sentence.
        student: What the student's tap gave.
        teacher: What the teacher's tap gave.
        what: Name of what is compared, in the plural.

    Raises:
        ConfigError: If they did not.
    """
    if len(student) != len(teacher):
        raise ConfigError(
            f'{key}: the student gives {len(student)} {what} and the teacher {len(teacher)}; '
            'tap equally many layers or levels of both'
        )
    for level, (s, t) in enumerate(zip(student, teacher)):
        if s.ndim != t.ndim:
            raise ConfigError(
                f'{key}: {what}[{level}] of the student have shape {tuple(s.shape)} and those of the teacher '
                f'{tuple(t.shape)}; tap layers whose outputs have the same number of dimensions'
            )


def check_same_size(key: str, student: Sequence[Tensor], teacher: Sequence[Tensor], advice: str) -> None:
    """Check that student and teacher agree in every shape.

    Raises:
        ConfigError: If they do not; the sentence ends with ``advice``.
    """
    for level, (s, t) in enumerate(zip(student, teacher)):
        if s.shape != t.shape:
            raise ConfigError(
                f'{key}: level {level} of the student has shape {tuple(s.shape)} and that of the teacher '
                f'{tuple(t.shape)}; {advice}'
            )
