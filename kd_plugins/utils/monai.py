"""Build networks, losses, inferers and transforms of MONAI from configs with the names of its classes.

The import of MONAI takes seconds, so it is delayed until the first part is built.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..errors import ConfigError, MissingDependencyError, import_fault, nearest
from .build import check_arguments, construct, first_line

MODULES = {
    'network': 'monai.networks.nets',
    'loss': 'monai.losses',
    'inferer': 'monai.inferers',
    'transform': 'monai.transforms',
}
"""Kind of part to the module of MONAI that exports its classes."""


def monai_class(kind: str, name: Any, key: str) -> type:
    """Return a class of MONAI.

    Args:
        kind: A key of :data:`MODULES`.
        name: Name of the class.
        key: Config key for the error sentence.

    Raises:
        ConfigError: If MONAI has no such class.
        MissingDependencyError: If MONAI is not installed, or its import fails.
    """
    try:
        module = import_module(MODULES[kind])
    except ImportError as error:
        fault = import_fault(error, MODULES[kind])
        raise MissingDependencyError(
            f"{key}: {fault} (extra 'volume'); kd_plugins doctor prints the command that installs it"
        ) from error
    cls = getattr(module, name, None) if isinstance(name, str) else None
    if not isinstance(cls, type):
        names = [other for other, value in vars(module).items() if isinstance(value, type)]
        raise ConfigError(f'{key}.type: {MODULES[kind]} has no {name!r}; {nearest(str(name), names)}')
    return cls


def build_part(kind: str, config: Any, key: str, **more: Any) -> Any:
    """Build a part of MONAI from ``dict(type=..., **arguments)``.

    Args:
        kind: A key of :data:`MODULES`.
        config: The config.
        key: Config key for error sentences.
        more: Further arguments, which are already objects.

    Raises:
        ConfigError: If MONAI has no such class, or the class does not take these arguments.
        MissingDependencyError: If MONAI, or another package that the class needs, is not installed.
    """
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ConfigError(f"{key} is {config!r}; give a dict with 'type', the name of a class in {MODULES[kind]}")
    settings = copy.deepcopy(config.to_dict() if hasattr(config, 'to_dict') else dict(config))
    cls = monai_class(kind, settings.pop('type'), key)
    check_arguments(cls, settings, key)
    from monai.utils import OptionalImportError

    try:
        return construct(cls, {**settings, **more}, key)
    except ConfigError:
        raise
    except OptionalImportError as error:
        raise MissingDependencyError(
            f'{key}: {cls.__name__} needs another package: {first_line(error)}; kd_plugins doctor prints the command'
        ) from error
    except Exception as error:
        raise ConfigError(f'{key}: {cls.__name__} cannot be built: {first_line(error)}') from error
