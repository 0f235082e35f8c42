"""Check the hooks of this package in a config before MMEngine builds them, with sentences that name the config key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook

from ..config.hook_entries import NAME
from ..errors import ConfigError
from ..registry import HOOKS
from ..utils.argument_types import check_types, shown
from ..utils.build import check_arguments, find_class, missing_arguments

OF_RUNNER = ('type', 'priority', '_scope_')
"""Keys of an entry that MMEngine's runner and registry read."""


def entries_of(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield config key and entry of the hooks of this package.

    Args:
        config: The resolved config.

    >>> list(entries_of({'default_hooks': {'distill': 3, 'timer': None}, 'custom_hooks': [{'type': 'Other'}]}))
    [('default_hooks.distill', 3)]
    """
    default, custom = config.get('default_hooks') or {}, config.get('custom_hooks') or []
    named = [(f'default_hooks.{name}', entry) for name, entry in default.items() if entry is not None]
    listed = [(f'custom_hooks[{index}]', entry) for index, entry in enumerate(custom)]
    for key, entry in [*named, *listed]:
        kind = entry.get('type') if isinstance(entry, Mapping) else None
        if key == f'default_hooks.{NAME}' or (isinstance(kind, str) and kind.startswith(f'{HOOKS.scope}.')):
            yield key, entry


def check_entries(config: Mapping[str, Any]) -> None:
    """Refuse entries of hooks that MMEngine cannot build, with the nearest valid name.

    Args:
        config: The resolved config, whose ``default_scope`` is registered.

    Raises:
        ConfigError: If an entry is no dict, its ``type`` is no hook, or an argument is unknown, missing or of another
            type.
    """
    for key, entry in entries_of(config):
        check_entry(entry, key)


def check_entry(entry: Any, key: str) -> None:
    """Refuse one entry; see :func:`check_entries`.

    Args:
        entry: The entry.
        key: Its config key.

    >>> check_entry({'type': 'kd_plugins.EpochSeedHook'}, 'custom_hooks[0]')
    """
    if isinstance(entry, Hook):
        return
    if not isinstance(entry, Mapping) or 'type' not in entry:
        raise ConfigError(f"{key} is {shown(entry)}; give a dict with 'type', for example {HOOKS.scope}.DistillHook")
    cls = find_class(HOOKS, entry['type'], Hook, f'{key}.type')
    settings = {name: value for name, value in entry.items() if name not in OF_RUNNER}
    if not isinstance(entry.get('_scope_', ''), str):
        raise ConfigError(f'{key}._scope_ is {shown(entry["_scope_"])}; valid: the name of a package')
    check_arguments(cls, settings, key)
    missing = missing_arguments(cls, settings)
    if missing:
        raise ConfigError(f"{key}: {cls.__name__} needs '{missing[0]}', which the entry does not have")
    check_types(cls, settings, key)
