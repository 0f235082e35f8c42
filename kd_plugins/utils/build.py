"""Build one part of a config, with error sentences that name its config key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, TypeVar

from mmengine.registry import Registry

from ..errors import ConfigError, check_arguments, nearest

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


def subclasses_in(registry: Registry, base: type) -> list[str]:
    """Return the names under which a registry holds subclasses of ``base``, ``base`` itself left out."""
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
    """Call a constructor and turn arguments that are missing or surplus into a sentence.

    Args:
        cls: The class.
        settings: Its arguments.
        key: Config key for the sentence.

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
