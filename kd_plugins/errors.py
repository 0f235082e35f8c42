"""Errors of one sentence: config key, what was found, nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from inspect import Parameter, signature


class KDPluginsError(Exception):
    """Root of all errors raised on purpose by this package; the tools print its text without a traceback."""


class ConfigError(KDPluginsError, ValueError):
    """A config that cannot do what it says, found before the first optimizer step."""


class TapError(KDPluginsError, RuntimeError):
    """A tap that matched nothing or never fired."""


class CheckpointError(KDPluginsError, RuntimeError):
    """A checkpoint that is truncated, foreign, or does not fit the model."""


class NonFiniteLossError(KDPluginsError, FloatingPointError):
    """A distillation term that became NaN or infinite."""


class MissingDependencyError(KDPluginsError, ImportError):
    """An optional dependency that the config needs and the environment lacks."""


def check_arguments(kind: type, arguments: Iterable[str], key: str) -> None:
    """Refuse arguments that a class does not take.

    Args:
        kind: The class that is going to be built.
        arguments: Names given in the config.
        key: Config key for the error sentence.

    Raises:
        ConfigError: Naming the first unknown argument and the nearest valid ones.

    >>> check_arguments(dict, ['anything'], 'model')
    """
    try:
        parameters = signature(kind).parameters.values()
    except ValueError:  # builtins have none
        return
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    valid = [parameter.name for parameter in parameters]
    unknown = next((name for name in arguments if name not in valid), None)
    if unknown is not None:
        raise ConfigError(f"{key}: {kind.__name__} has no argument '{unknown}'; {nearest(unknown, valid, 6)}")


def check_known(key: str, found: str, choices: Sequence[str]) -> str:
    """Return a name that is one of the choices.

    Args:
        key: Config key for the error sentence.
        found: What the config gives.
        choices: All valid names.

    Raises:
        ConfigError: If it is none of them, naming the nearest.

    >>> check_known('reduction', 'mean', ['mean', 'sum'])
    'mean'
    """
    if found not in choices:
        raise ConfigError(f'{key} is {found!r}; {nearest(str(found), choices, 6)}')
    return found


def nearest(name: str, choices: Iterable[str], limit: int = 3) -> str:
    """Say which valid names are nearest to ``name``, as the closing words of an error sentence.

    Args:
        name: What was found.
        choices: All valid names.
        limit: How many names to show at the most.

    Returns:
        ``"nearest: 'a', 'b'"``, or the first few valid names where none is near.

    >>> nearest('bbox_head.gfl_rg', ['bbox_head.gfl_reg', 'neck'])
    "nearest: 'bbox_head.gfl_reg'"
    >>> nearest('x', ['backbone', 'neck'])
    "valid: 'backbone', 'neck'"
    """
    valid = list(choices)
    close = get_close_matches(name, valid, n=limit, cutoff=0.5)
    label = 'nearest' if close else 'valid'
    shown = close or valid[:limit]
    listed = ', '.join(repr(choice) for choice in shown) if shown else 'none'
    more = ', ...' if not close and len(valid) > limit else ''
    return f'{label}: {listed}{more}'
