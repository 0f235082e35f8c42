"""Errors that a person can act on: one sentence with the key, what was found and the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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
