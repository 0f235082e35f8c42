"""Text of an entry as a person would write it in a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from keyword import iskeyword
from typing import Any

WIDTH = 110


def value_text(value: Any, indent: int = 0, room: int = WIDTH) -> str:
    """Return a value of a config as Python text: ``dict(...)`` calls, each in one line where it fits.

    Tuples stay tuples, because steps of a pipeline such as ``RandomResize`` refuse lists.

    Args:
        value: Dicts, lists and plain values.
        indent: Spaces before the lines of a nested value.
        room: Columns that are left in the first line.

    >>> value_text({'type': 'A', 'sizes': [1, 2], 'on': ('labelled',), 'map': {'a.b': 1}})
    "dict(type='A', sizes=[1, 2], on=('labelled',), map={'a.b': 1})"
    >>> print(value_text({'a': {'b': 1}, 'c': 2}, room=12))
    dict(
        a=dict(b=1),
        c=2,
    )
    """
    parts: list[tuple[str, Any]]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value):
            parts, brackets = [(f'{key}=', item) for key, item in value.items()], ('dict(', ')')
        else:
            parts, brackets = [(f'{key!r}: ', item) for key, item in value.items()], ('{', '}')
    elif isinstance(value, Sequence) and not isinstance(value, str):
        parts, brackets = [('', item) for item in value], ('(', ')') if isinstance(value, tuple) else ('[', ']')
    elif callable(value):  # a class, in a config of MMEngine's new style
        return repr(f'{value.__module__}.{value.__qualname__}')
    else:
        return repr(value)
    end = ',' if isinstance(value, tuple) and len(value) == 1 else ''
    line = brackets[0] + ', '.join(name + value_text(item, room=10**6) for name, item in parts) + end + brackets[1]
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


def update(name: str, value: Mapping[str, Any]) -> str:
    """Return the line or lines that change keys of a dict, where an assignment would replace all of it.

    >>> update('default_hooks', {'distill': {'type': 'A'}})
    "default_hooks.update(distill=dict(type='A'))"
    """
    return f'{name}.update({value_text(value, room=WIDTH - len(name) - 4).removeprefix("dict(")}'
