"""Networks, losses, inferers and transforms of MONAI, by the names of its own documentation.

MONAI takes seconds to import, so it is imported when the first part is built.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..errors import ConfigError, MissingDependencyError, check_arguments, nearest
from .build import construct

MODULES = {
    'network': 'monai.networks.nets',
    'loss': 'monai.losses',
    'inferer': 'monai.inferers',
    'transform': 'monai.transforms',
}
"""Kind of part to the module that exports every class of it."""


def monai_class(kind: str, name: Any, key: str) -> type:
    """Return a class of MONAI.

    Args:
        kind: A key of :data:`MODULES`.
        name: Name of the class.
        key: Config key for the error sentence.

    Raises:
        ConfigError: If MONAI has no such class.
        MissingDependencyError: If MONAI is not installed.
    """
    try:
        module = import_module(MODULES[kind])
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{key}: '{error.name}' is not installed (extra 'volume'); "
            'kd_plugins doctor prints the command that installs it'
        ) from error
    found = getattr(module, name, None) if isinstance(name, str) else None
    if not isinstance(found, type):
        names = [other for other, value in vars(module).items() if isinstance(value, type)]
        raise ConfigError(f'{key}.type: {MODULES[kind]} has no {name!r}; {nearest(str(name), names)}')
    return found


def build_part(kind: str, config: Any, key: str, **more: Any) -> Any:
    """Build a part of MONAI from ``dict(type=..., **arguments)``.

    Args:
        kind: A key of :data:`MODULES`.
        config: The config.
        key: Config key for error sentences.
        more: Arguments that are objects already.

    Raises:
        ConfigError: If there is no such class, or it does not take these arguments.
        MissingDependencyError: If MONAI, or what this class needs besides, is not installed.
    """
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ConfigError(f"{key} is {config!r}; give a dict with 'type', the name of a class in {MODULES[kind]}")
    settings = copy.deepcopy(config.to_dict() if hasattr(config, 'to_dict') else dict(config))
    cls = monai_class(kind, settings.pop('type'), key)
    check_arguments(cls, settings, key)
    try:
        return construct(cls, {**settings, **more}, key)
    except ConfigError:
        raise
    except Exception as error:
        text = first_line(error)
        if type(error).__name__ == 'OptionalImportError':
            raise MissingDependencyError(
                f'{key}: {cls.__name__} needs another package: {text}; `kd_plugins doctor` prints the command'
            ) from error
        raise ConfigError(f'{key}: {cls.__name__} cannot be built: {text}') from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, or the name of its class where the message is empty.

    >>> first_line(ValueError('no such shape\\nTraceback ...'))
    'no such shape'
    >>> first_line(AssertionError())
    'AssertionError'
    """
    return str(error).strip().partition('\n')[0].rstrip('.') or type(error).__name__
