"""Build one part of a config, with error sentences that name the config key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, TypeVar

from mmengine.registry import Registry

from ..errors import ConfigError, nearest

Part = TypeVar('Part')


def build(registry: Registry, config: Any, base: type[Part], key: str, **arguments: Any) -> Part:
    """Build an instance of ``base`` from ``dict(type=..., **settings)``.

    A constructor that takes ``key`` gets the config key, so that its own error sentences name it.

    Args:
        registry: Where ``type`` is looked up.
        config: The settings, or an instance of ``base``, which is returned unchanged.
        base: The class that the part must derive from.
        key: Config key of the part, such as ``'distillers.localization'``.
        arguments: Further arguments of the constructor, which a setting of the same name overrides.

    Raises:
        ConfigError: If ``type`` is missing, unknown or of another class, or if a setting does not fit.

    >>> from torch import nn
    >>> from kd_plugins.registry import MODELS
    >>> config = {'type': 'kd_plugins.PointwiseAdapter', 'in_channels': 4}
    >>> build(MODELS, config, nn.Module, 'adapter', out_channels=8).projection
    Linear(in_features=4, out_features=8, bias=True)
    """
    if isinstance(config, base):
        return config
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ConfigError(f"{key} is {config!r}; give a dict with 'type', for example {registry.scope}.{base.__name__}")
    settings = {**arguments, **config}
    name = settings.pop('type')
    cls = registry.get(name) if isinstance(name, str) else name
    if not (isinstance(cls, type) and issubclass(cls, base)):
        valid = [f'{registry.scope}.{known}' for known in subclasses_in(registry, base)]
        raise ConfigError(f"{key}.type is '{name}', which is not a {base.__name__}; {nearest(str(name), valid, 6)}")
    check_arguments(cls, settings, key)
    if takes_key(cls, base):
        settings['key'] = key
    return construct(cls, settings, key)


def check_arguments(cls: type, arguments: Iterable[str], key: str) -> None:
    """Refuse arguments that a class does not take.

    Args:
        cls: The class that is going to be built.
        arguments: Names of the arguments in the config.
        key: Config key for the error sentence.

    Raises:
        ConfigError: Naming the first unknown argument and the nearest valid ones.

    >>> check_arguments(dict, ['anything'], 'model')
    """
    try:
        parameters = signature(cls).parameters.values()
    except ValueError:  # built-in classes have no signature
        return
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    valid = [parameter.name for parameter in parameters]
    unknown = next((name for name in arguments if name not in valid), None)
    if unknown is not None:
        raise ConfigError(f"{key}: {cls.__name__} has no argument '{unknown}'; {nearest(unknown, valid, 6)}")


def subclasses_in(registry: Registry, base: type) -> list[str]:
    """Return the names of the subclasses of ``base`` in a registry, without ``base`` itself."""
    registered = registry.module_dict.items()
    return [name for name, cls in registered if isinstance(cls, type) and issubclass(cls, base) and cls is not base]


def takes_key(cls: type, base: type) -> bool:
    """Return whether a constructor accepts ``key``: by name, or through ``**kwargs`` that its base class receives.

    Args:
        cls: The class.
        base: The class that it derives from.

    >>> takes_key(dict, dict)
    False
    """
    try:
        parameters, inherited = signature(cls).parameters, signature(base).parameters
    except ValueError:  # built-in classes have no signature
        return False
    passes_on = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    return 'key' in parameters or (passes_on and 'key' in inherited)


def construct(cls: Callable[..., Part], settings: Mapping[str, Any], key: str) -> Part:
    """Call a constructor, with one error sentence for missing or unknown arguments.

    Args:
        cls: The class.
        settings: Its arguments.
        key: Config key for the error sentence.

    Raises:
        ConfigError: If the constructor refuses the arguments.
    """
    try:
        return cls(**settings)
    except TypeError as error:
        name = getattr(cls, '__name__', str(cls))
        # An inherited constructor names the base class.
        message = re.sub(r'[\w.]*__init__\(\)', name, str(error))
        raise ConfigError(f'{key}: {message}') from error
