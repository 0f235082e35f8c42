"""Errors whose message is one sentence: the config key, its value and the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class KDPluginsError(Exception):
    """Base class of all errors that this package raises; the commands print the message without a traceback."""


class ConfigError(KDPluginsError, ValueError):
    """A config with a mistake, found before the first optimizer step."""


class TapError(KDPluginsError, RuntimeError):
    """A tap that matched nothing or never fired."""


class CheckpointError(KDPluginsError, RuntimeError):
    """A checkpoint that is truncated, from another program, or does not fit the model."""


class NonFiniteLossError(KDPluginsError, FloatingPointError):
    """A distillation term that became NaN or infinite."""


class MissingDependencyError(KDPluginsError, ImportError):
    """An optional dependency that the config needs and the environment lacks."""


def nearest(name: object, choices: Iterable[object], limit: int = 3) -> str:
    """Return the valid names that are nearest to ``name``, as the last words of an error sentence.

    Args:
        name: Name in the config.
        choices: All valid names.
        limit: Largest number of names to show.

    Returns:
        ``"nearest: 'a', 'b'"``, or the first valid names where none is near.

    >>> nearest('bbox_head.gfl_rg', ['bbox_head.gfl_reg', 'neck'])
    "nearest: 'bbox_head.gfl_reg'"
    >>> nearest('x', ['backbone', 'neck'])
    "valid: 'backbone', 'neck'"
    """
    valid = [str(choice) for choice in choices]
    close = get_close_matches(str(name), valid, n=limit, cutoff=0.5)
    label = 'nearest' if close else 'valid'
    shown = close or valid[:limit]
    listed = ', '.join(repr(choice) for choice in shown) if shown else 'none'
    more = ', ...' if not close and len(valid) > limit else ''
    return f'{label}: {listed}{more}'
