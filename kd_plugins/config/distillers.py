"""Distillers of a config, for commands that inspect one of them."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from torch import nn

from ..errors import ConfigError, nearest
from ..registry import MODELS
from ..utils.build import build

KEY = 'default_hooks.distill.distillers'


def distillers_of(config: Config, kind: str) -> dict[str, Any]:
    """Return name to entry of the distillers of one class, those that a child config has switched off left out.

    Args:
        config: The resolved config.
        kind: Name of the class, without scope.

    Raises:
        ConfigError: If there is none.
    """
    entries = ((config.get('default_hooks') or {}).get('distill') or {}).get('distillers') or {}
    found = {
        name: entry for name, entry in entries.items() if entry and str(entry.get('type')).rpartition('.')[2] == kind
    }
    if not found:
        raise ConfigError(f"{KEY} has no 'kd_plugins.{kind}'; give a config that has one")
    return found


def build_distiller(config: Config, kind: str, wanted: str | None) -> tuple[str, Any]:
    """Return name and distiller of the one of a class that is meant.

    Args:
        config: The resolved config.
        kind: Name of the class, without scope.
        wanted: What ``--distiller`` says; ``None`` where the config has only one.

    Raises:
        ConfigError: If there is none, none of that name, or several and no name.
    """
    found = distillers_of(config, kind)
    if wanted is None and len(found) > 1:
        raise ConfigError(f'--distiller: the config has several; valid: {", ".join(map(repr, found))}')
    name = next(iter(found)) if wanted is None else wanted
    if name not in found:
        raise ConfigError(f"--distiller: '{name}' is no {kind} of the config; {nearest(name, found)}")
    return name, build(MODELS, found[name], nn.Module, f'distillers.{name}')
