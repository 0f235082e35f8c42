"""Entries of hooks in a config, and that of the DistillHook among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .loading import class_name, walk

NAME, HOOK = 'distill', 'DistillHook'
"""Key under ``default_hooks`` that stands for distillation, and class of its hook."""


def hooks_of(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the config key and the entry of every hook; an entry may be changed in place.

    Args:
        config: The resolved config.

    >>> list(hooks_of({'custom_hooks': [{'type': 'EMAHook', 'ema_type': {'type': 'StochasticWeightAverage'}}]}))
    [('custom_hooks.0', {'type': 'EMAHook', 'ema_type': {'type': 'StochasticWeightAverage'}})]
    """
    for key in ('default_hooks', 'custom_hooks'):
        for path, hook in walk(config.get(key), key):
            if path.count('.') == 1 and 'type' in hook:
                yield path, hook


def is_distill_hook(entry: Any) -> bool:
    """Return whether an entry names the DistillHook.

    >>> is_distill_hook({'type': 'kd_plugins.DistillHook'}), is_distill_hook(None)
    (True, False)
    """
    return isinstance(entry, Mapping) and class_name(entry) == HOOK


def distill_entry(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the entry of the DistillHook, which may be changed in place, or ``None``.

    It is ``default_hooks.distill``, or the first entry of this class in ``default_hooks`` or ``custom_hooks``.

    Args:
        config: The resolved config.

    >>> distill_entry({'custom_hooks': [{'type': 'kd_plugins.DistillHook', 'distillers': {}}]})
    {'type': 'kd_plugins.DistillHook', 'distillers': {}}
    >>> distill_entry({'default_hooks': {'timer': {'type': 'IterTimerHook'}}}) is None
    True
    """
    named = (config.get('default_hooks') or {}).get(NAME)
    if isinstance(named, dict):
        return named
    return next((hook for _, hook in hooks_of(config) if is_distill_hook(hook)), None)
