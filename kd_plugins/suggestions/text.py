"""Text of an entry as a person would write it in a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 110


def value_text(value: Any, indent: int = 0, room: int = WIDTH) -> str:
    """Return a value of a config as Python text: ``dict(...)`` calls, each in one line where it fits.

    Args:
        value: Dicts, lists and plain values.
        indent: Spaces before the lines of a nested value.
        room: Columns that are left in the first line.

    >>> value_text({'type': 'A', 'sizes': [1, 2]})
    "dict(type='A', sizes=[1, 2])"
    >>> print(value_text({'a': {'b': 1}, 'c': 2}, room=12))
    dict(
        a=dict(b=1),
        c=2,
    )
    """
    if isinstance(value, Mapping):
        parts, brackets = [(f'{key}=', item) for key, item in value.items()], ('dict(', ')')
    elif isinstance(value, Sequence) and not isinstance(value, str):
        parts, brackets = [('', item) for item in value], ('[', ']')
    else:
        return repr(value)
    line = brackets[0] + ', '.join(name + value_text(item, room=10**6) for name, item in parts) + brackets[1]
    if len(line) <= room or not parts:
        return line
    inner = indent + 4
    lines = [f'{" " * inner}{name}{value_text(item, inner, WIDTH - inner - len(name) - 1)},' for name, item in parts]
    return '\n'.join([brackets[0], *lines, ' ' * indent + brackets[1]])


def assignment(name: str, value: Any) -> str:
    """Return the line or lines that assign a value in a config.

    >>> assignment('default_hooks', {'distill': {'type': 'A'}})
    "default_hooks = dict(distill=dict(type='A'))"
    """
    return f'{name} = {value_text(value, room=WIDTH - len(name) - 3)}'
