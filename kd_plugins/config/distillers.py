"""Look up and build one distiller of a config, for commands that inspect it."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from torch import nn

from ..errors import ConfigError, nearest
from ..registry import MODELS
from ..utils.build import build
from . import loading
from .hook_entries import distill_entry

KEY = 'default_hooks.distill.distillers'


def distillers_of(config: Config, class_name: str) -> dict[str, Any]:
    """Return name to entry of the distillers of one class, without those that a child config has switched off.

    Args:
        config: The resolved config.
        class_name: Name of the class, without scope.

    Raises:
        ConfigError: If the config has no distiller of this class.
    """
    entries = (distill_entry(config) or {}).get('distillers') or {}
    selected = {name: entry for name, entry in entries.items() if entry and loading.class_name(entry) == class_name}
    if not selected:
        raise ConfigError(f"{KEY} has no 'kd_plugins.{class_name}'; give a config that has one")
    return selected


def build_distiller(config: Config, class_name: str, name: str | None) -> tuple[str, Any]:
    """Build one distiller of a class and return its name and the distiller.

    Args:
        config: The resolved config.
        class_name: Name of the class, without scope.
        name: Name of the distiller, from ``--distiller``; ``None`` where the config has only one of the class.

    Raises:
        ConfigError: If the config has no such distiller, or several and ``name`` is ``None``.
    """
    entries = distillers_of(config, class_name)
    if name is None and len(entries) > 1:
        raise ConfigError(f'--distiller: the config has several; valid: {", ".join(map(repr, entries))}')
    name = next(iter(entries)) if name is None else name
    if name not in entries:
        raise ConfigError(f"--distiller: the config has no {class_name} named '{name}'; {nearest(name, entries)}")
    return name, build(MODELS, entries[name], nn.Module, f'distillers.{name}')
