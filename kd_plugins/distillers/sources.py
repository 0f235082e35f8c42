"""Source of a distiller: the student itself, one teacher, or several teachers whose predictions it combines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..errors import ConfigError
from ..utils.argument_types import shown

BESIDE = '@'
"""Separates the name of a teacher beside the first one from the alias of a tap: ``'slow@teacher_logits'``."""
Value = TypeVar('Value')


def check_source(key: str, source: Any, kind: str, combines: bool) -> tuple[str, tuple[str, ...]]:
    """Return the name of the first teacher and those of the others.

    Args:
        key: Config key of the distiller, for error sentences.
        source: ``'auto'``, ``'student'``, the name of a teacher, or a list of names.
        kind: Name of the distiller's class, for error sentences.
        combines: Whether the distiller can learn from several teachers together.

    Raises:
        ConfigError: If it is something else.

    >>> check_source('distillers.x', 'auto', 'LogitDistiller', True)
    ('auto', ())
    >>> check_source('distillers.x', ['fast', 'slow'], 'LogitDistiller', True)
    ('fast', ('slow',))
    """
    if isinstance(source, str):
        return source, ()
    valid = "valid: 'auto', 'student', or the name of a teacher"
    names = list(source) if isinstance(source, (list, tuple)) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{key}.source is {shown(source)}; {valid}')
    if not combines:
        raise ConfigError(
            f'{key}.source is {shown(names)}, and {kind} learns from one teacher; '
            'give each teacher a distiller of its own'
        )
    wrong = next((name for name in names if name in ('auto', 'student') or names.count(name) > 1), None)
    if wrong is not None or len(names) < 2:
        found = f"'{wrong}'" if wrong in ('auto', 'student') else f'{shown(names)}'
        raise ConfigError(
            f'{key}.source has {found}, and a list holds the names of at least two different teachers; for one, give '
            f"its name alone, such as source='{next((one for one in names if one != wrong), 'teacher')}'"
        )
    return names[0], tuple(names[1:])


def alias_beside(teacher: str, alias: str) -> str:
    """Return the alias of a tap on a teacher beside the first one.

    >>> alias_beside('slow', 'teacher_logits')
    'slow@teacher_logits'
    """
    return f'{teacher}{BESIDE}{alias}'


def own_alias(alias: str) -> str:
    """Return the alias that the distiller gave to a tap.

    >>> own_alias('slow@teacher_logits'), own_alias('teacher_logits')
    ('teacher_logits', 'teacher_logits')
    """
    return alias.rpartition(BESIDE)[2]


def of_all_teachers(outputs: Mapping[str, Sequence[Value]], alias: str) -> list[Sequence[Value]]:
    """Return the outputs of a tap on each teacher, the first one first.

    Args:
        outputs: Alias to outputs.
        alias: Alias of the tap.

    >>> of_all_teachers({'x': [1], 'y': [2], 'slow@x': [3], 'slow@y': [4]}, 'x')
    [[1], [3]]
    """
    return [values for name, values in outputs.items() if own_alias(name) == alias]
