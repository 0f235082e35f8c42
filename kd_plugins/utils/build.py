"""Build one part of a config, with error sentences that name the config key."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, TypeVar

from mmengine.registry import Registry

from ..errors import ConfigError, KDPluginsError, nearest
from .argument_types import check_types, shown

Part = TypeVar('Part')
VARIADIC = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)


def build(registry: Registry, config: Any, base: type[Part], key: str, **arguments: Any) -> Part:
    """Build an instance of ``base`` from ``dict(type=..., **settings)``.

    A constructor that takes ``key`` gets the config key, so that its own error sentences name it. Settings that the
    class lists in ``common_settings`` are attributes of the built part, and no arguments of its constructor.

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
        valid = [f'{registry.scope}.{known}' for known in subclasses_in(registry, base)]
        example = next(iter(valid), f'{registry.scope}.{base.__name__}')
        raise ConfigError(f"{key} is {shown(config)}; give a dict with 'type', for example dict(type='{example}')")
    settings = {**arguments, **config}
    cls = find_class(registry, settings.pop('type'), base, f'{key}.type')
    has_key = takes_key(cls, base)
    common = {name: settings.pop(name) for name in getattr(cls, 'common_settings', ()) if name in settings}
    check_arguments(cls, settings, key, ('key',) if has_key else ())
    check_types(cls, settings, key)
    if has_key:
        settings['key'] = key
    part = construct(cls, settings, key)
    for name, value in common.items():
        setattr(part, name, value)
    return part


def find_class(registry: Registry, name: Any, base: type[Part], key: str) -> type[Part]:
    """Return the subclass of ``base`` that a config names.

    Args:
        registry: Where the name is looked up.
        name: Value of ``type`` in the config: a name, or a class.
        base: The class that the part must derive from.
        key: Config key of ``type``.

    Raises:
        ConfigError: If there is no such subclass, naming the nearest.

    >>> from torch import nn
    >>> from kd_plugins.registry import MODELS
    >>> find_class(MODELS, 'kd_plugins.PointwiseAdapter', nn.Module, 'adapter.type').__name__
    'PointwiseAdapter'
    """
    cls: Any = name
    if isinstance(name, str):
        try:
            cls = registry.get(name)
            if cls is None:
                with registry.switch_scope_and_registry(None) as scoped:
                    cls = scoped.get(name)
        except (ImportError, AttributeError, RuntimeError, TypeError, ValueError):  # MMEngine imports dotted names
            cls = None
    if isinstance(cls, type) and issubclass(cls, base):
        return cls
    # Names of MMEngine's own registries need no scope.
    scope = '' if registry.scope == 'mmengine' else f'{registry.scope}.'
    valid = [f'{scope}{known}' for known in subclasses_in(registry, base)]
    if registry.parent is not None:
        valid += subclasses_in(registry.root, base)
    article = 'an' if base.__name__[0] in 'AEIO' else 'a'
    kind = f'{article} {base.__name__}' if isinstance(name, (str, type)) else 'a name'
    raise ConfigError(f'{key} is {shown(name)}, which is not {kind}; {nearest(str(name), valid, 6)}')


def check_arguments(
    cls: type, arguments: Iterable[Any], key: str, reserved: Collection[str] = (), inherited: bool = False
) -> None:
    """Refuse arguments that a class does not take.

    Args:
        cls: The class that is going to be built.
        arguments: Names of the arguments in the config.
        key: Config key for the error sentence.
        reserved: Names of arguments that a config cannot give.
        inherited: Whether the class passes its ``**kwargs`` on to its base class, so that the names are known.

    Raises:
        ConfigError: Naming the first unknown argument and the nearest valid ones.

    >>> check_arguments(dict, ['anything'], 'model')
    """
    try:
        parameters = signature(cls).parameters.values()
    except ValueError:  # built-in classes have no signature
        return
    variadic = not inherited and any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    valid = inherited_arguments(cls) if inherited else [parameter.name for parameter in parameters]
    valid = [name for name in valid if name not in reserved]
    for name in arguments:
        if name in reserved or not isinstance(name, str) or (name not in valid and not variadic):
            raise ConfigError(f'{key}: {cls.__name__} has no argument {shown(name)}; {nearest(str(name), valid, 6)}')


def check_settings(cls: type, settings: Any, key: str, example: str) -> None:
    """Refuse what is no dict of arguments that a class takes.

    Args:
        cls: The class that is going to be made of it.
        settings: What the config gives.
        key: Config key for the error sentence.
        example: A valid dict, for the error sentence.

    Raises:
        ConfigError: If it is something else.

    >>> check_settings(dict, {}, 'model', "dict(type='GFL')")
    """
    if not isinstance(settings, dict):
        raise ConfigError(f'{key} is {settings!r}; give a dict, for example {example}')
    check_arguments(cls, settings, key)


def inherited_arguments(cls: type) -> list[str]:
    """Return the names of the arguments of a constructor and of those that it passes on as ``**kwargs``.

    >>> class Base:
    ...     def __init__(self, size): ...
    >>> class Part(Base):
    ...     def __init__(self, name, **kwargs): ...
    >>> inherited_arguments(Part)
    ['name', 'size']
    """
    return [one.name for one in reached_parameters(cls)]


def reached_parameters(cls: type) -> list[Parameter]:
    """Return the parameters of a constructor and of those that its ``**kwargs`` reach, each name once.

    Args:
        cls: The class.

    >>> [parameter.name for parameter in reached_parameters(type('Part', (), {}))]
    []
    """
    reached: dict[str, Parameter] = {}
    for base in cls.__mro__[:-1]:
        if '__init__' in vars(base):
            parameters = list(signature(vars(base)['__init__']).parameters.values())[1:]
            for one in parameters:
                if one.kind not in VARIADIC:
                    reached.setdefault(one.name, one)
            if not any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
                break
    return list(reached.values())


def missing_arguments(cls: type, arguments: Collection[Any], inherited: bool = False) -> list[str]:
    """Return the arguments that a class requires and a config does not give.

    Args:
        cls: The class.
        arguments: Names of the arguments in the config.
        inherited: Whether the class passes its ``**kwargs`` on to its base class, whose required arguments count, too.

    >>> from kd_plugins.schedules import Constant
    >>> missing_arguments(Constant, ['begin'])
    ['value']
    """
    if inherited:
        parameters = reached_parameters(cls)
    else:
        try:
            parameters = list(signature(cls).parameters.values())
        except ValueError:  # built-in classes have no signature
            return []
    required = [one.name for one in parameters if one.default is Parameter.empty and one.kind not in VARIADIC]
    return [name for name in required if name not in arguments]


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
    name = getattr(cls, '__name__', str(cls))
    try:
        return cls(**settings)
    except KDPluginsError:
        raise
    except TypeError as error:
        # An inherited constructor names the base class.
        raise ConfigError(f'{key}: {re.sub(r"[a-zA-Z_.]*__init__[(][)]", name, first_line(error))}') from error
    except (ValueError, ArithmeticError, RuntimeError, AssertionError, LookupError, AttributeError) as error:
        raise ConfigError(f'{key}: {name} cannot be built: {first_line(error)}') from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, or the name of its class where the message is empty.

    >>> first_line(ValueError('no such shape\\nTraceback ...'))
    'no such shape'
    >>> first_line(AssertionError())
    'AssertionError'
    """
    return str(error).strip().partition('\n')[0].rstrip('.')[:200] or type(error).__name__
