"""Check of the settings of a part against the annotations of its constructor."""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigError

LONGEST = 80
"""Characters of a value in an error sentence."""
PLAIN = (bool, int, float, complex, str, bytes, list, tuple, set, dict, types.NoneType, types.FunctionType, type)
"""Types of values that a config file holds. Other objects come from Python code, which may pass what it likes."""
NAMES = {bool: 'True or False', int: 'an integer', float: 'a finite number', str: 'a non-empty string', dict: 'a dict'}


def shown(value: Any) -> str:
    """Return a value as it is shown in an error sentence: in one line, the middle of a long one left out.

    >>> shown('neck'), len(shown(list(range(1000))))
    ("'neck'", 83)
    """
    text = ' '.join(repr(value).split())
    return text if len(text) <= LONGEST else f'{text[: LONGEST // 2]} ... {text[-LONGEST // 2 + 2 :]}'


@functools.cache
def annotations_of(cls: type) -> dict[str, Any]:
    """Return the annotation of each argument of a constructor, with those that ``**kwargs`` pass to a base class.

    >>> annotations_of(type('Part', (), {}))
    {}
    """
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if '__init__' not in vars(base):
            continue
        function = vars(base)['__init__']
        try:
            named = set(inspect.signature(function).parameters)
            own = get_type_hints(function)
        except (TypeError, ValueError):  # built-in classes have no signature
            named, own = set(), {}
        except (NameError, AttributeError):  # names that exist for type checkers only
            own = {}
        hints = {name: hint for name, hint in {**hints, **own}.items() if name in own or name not in named}
    hints.pop('return', None)
    return hints


def _members(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _members(member)
    else:
        yield hint


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value from a config is valid for an annotation; an annotation that is not known fits.

    True and False are no numbers, a number is finite, and a string is not empty.

    >>> fits(3, float | None), fits(True, int), fits('3', float), fits(float('nan'), float), fits(['a'], list[str])
    (True, False, False, False, True)
    """
    if not isinstance(value, PLAIN):
        return True
    return any(_fits_one(value, member) for member in _members(hint))


def _fits_one(value: Any, hint: Any) -> bool:
    origin = get_origin(hint) or hint
    if hint is Any:
        return True
    if origin in (None, types.NoneType):
        return value is None
    if origin in (int, float):
        number = isinstance(value, (int, origin)) and not isinstance(value, bool)
        return number and (origin is int or math.isfinite(value))
    if origin is str:
        return isinstance(value, str) and bool(value)
    if origin is bool:
        return isinstance(value, bool)
    if origin in (dict, Mapping):
        return isinstance(value, dict)
    if origin in (list, tuple, Sequence):
        members = [member for member in get_args(hint) if member is not Ellipsis]
        listed = isinstance(value, (list, tuple))
        return listed and (len(members) != 1 or all(fits(entry, members[0]) for entry in value))
    if origin is Callable:
        return callable(value)
    return not isinstance(origin, type) or origin is type or isinstance(value, origin)


def describe(hint: Any) -> str:
    """Return the valid values of an annotation in words.

    >>> describe(float | None), describe(str | list[str])
    ('a finite number or None', 'a non-empty string or a list of strings')
    """
    words = []
    for member in _members(hint):
        origin = get_origin(member) or member
        if origin in (list, tuple, Sequence):
            entries = {str: ' of strings', int: ' of integers', float: ' of numbers'}
            words.append('a list' + next((entries[entry] for entry in get_args(member) if entry in entries), ''))
        elif origin in (None, types.NoneType):
            words.append('None')
        else:
            origin = dict if origin is Mapping else origin
            words.append(NAMES.get(origin) or f'a {getattr(origin, "__name__", origin)}')
    return ' or '.join(words)


def check_types(cls: type, settings: Mapping[str, Any], key: str) -> None:
    """Refuse settings whose type is not that of the constructor's annotation.

    Args:
        cls: The class that is going to be built.
        settings: Its arguments in the config.
        key: Config key of the part, for the error sentence.

    Raises:
        ConfigError: Naming the first such argument, its value and the valid ones.

    >>> from kd_plugins.schedules import LinearWarmup
    >>> check_types(LinearWarmup, {'value': 1, 'end': None}, 'distillers.x.weight')
    """
    hints = annotations_of(cls)
    for name, value in settings.items():
        if name in hints and not fits(value, hints[name]):
            _check_entries(value, hints[name], f'{key}.{name}')
            parameter = inspect.signature(cls).parameters.get(name)
            default = None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default
            example = '' if default is None or default == value else f', such as {default!r}'
            raise ConfigError(f'{key}.{name} is {shown(value)}; valid: {describe(hints[name])}{example}')


def _check_entries(value: Any, hint: Any, key: str) -> None:
    """Refuse the first entry of a list that does not fit, by its index."""
    if not isinstance(value, (list, tuple)):
        return
    for member in _members(hint):
        entries = [entry for entry in get_args(member) if entry is not Ellipsis]
        if get_origin(member) in (list, tuple, Sequence) and len(entries) == 1:
            for index, entry in enumerate(value):
                if not fits(entry, entries[0]):
                    raise ConfigError(f'{key}[{index}] is {shown(entry)}; valid: {describe(entries[0])}')
