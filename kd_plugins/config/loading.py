"""Load a config for a command: apply ``--cfg-options``, check them, register the OpenMMLab package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError, MissingDependencyError, extra_note, import_fault, missing_package, nearest
from .reading import merge_options, read_config

# Import names of the OpenMMLab packages whose configs are trained.
SCOPES = ('mmdet', 'mmpose', 'mmseg', 'mmdet3d')
# Default hooks of MMEngine's runner, which it leaves out where a config sets them to None.
MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


def register_scope(scope: str) -> None:
    """Register everything of the OpenMMLab package that a config's ``default_scope`` names.

    Raises:
        MissingDependencyError: If the package, or one that it imports, is not installed or cannot be imported.
        ConfigError: If no package of this name has a registry.
    """
    if scope in ('mmengine', 'kd_plugins'):
        return
    if find_spec(scope) is None:
        if scope not in SCOPES and not scope.startswith('mm'):
            raise ConfigError(f"default_scope is '{scope}', which is not a package; {nearest(scope, SCOPES, 4)}")
        raise MissingDependencyError(
            f"default_scope: '{scope}' is not installed{extra_note(scope)}; kd_plugins doctor prints the command"
        )
    try:
        register = import_module(f'{scope}.utils').register_all_modules
    except ImportError as error:
        fault = import_fault(error, f'{scope}.utils') + extra_note(missing_package(error) or '')
        raise MissingDependencyError(
            f"default_scope is '{scope}', and {fault}; kd_plugins doctor prints the command"
        ) from error
    except AttributeError:
        return  # its registries import their own locations
    register(init_default_scope=False)


def walk(node: Any, path: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield dotted path and dict of every dict inside ``node``, itself first.

    >>> [path for path, _ in walk({'a': [{'b': {}}]})]
    ['', 'a.0', 'a.0.b']
    """
    if isinstance(node, dict):
        yield path, node
        items: Any = list(node.items())
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    else:
        return
    for key, child in items:
        yield from walk(child, f'{path}.{key}' if path else str(key))


def class_name(entry: Mapping[str, Any]) -> str:
    """Return the name of the class that an entry of a config names, without its scope.

    >>> class_name({'type': 'kd_plugins.DistillHook'}), class_name({'type': Config})
    ('DistillHook', 'Config')
    """
    named = entry.get('type')
    return str(getattr(named, '__name__', None) or str(named).rpartition('.')[2])


def set_scope(config: Config) -> None:
    """Set ``default_scope`` to the package of the model's class where it is None, in place.

    Configs of MMEngine's new style (``with read_base():``) name classes in place of text, and need no scope.

    Args:
        config: The resolved config.
    """
    model = config.get('model')
    named = model.get('type') if isinstance(model, Mapping) else None
    package = str(getattr(named, '__module__', '')).partition('.')[0]
    if config.get('default_scope') is None and package in SCOPES:
        config.default_scope = package


def unknown_options(config: Config, options: Mapping[str, Any]) -> list[str]:
    """Return a remark for each option whose key the config does not have yet; such a key is often misspelt.

    Keys of a dict with ``type`` get no remark, because a config rarely lists all arguments of a class.
    """
    remarks = []
    for key in options:
        node: Any = config
        parts = key.split('.')
        for depth, part in enumerate(parts):
            if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, (dict, Config)) and part in node:
                node = node[part]
            else:
                is_plain_dict = isinstance(node, (dict, Config)) and 'type' not in node
                advice = nearest(part, node) if is_plain_dict else ''
                if advice.startswith('nearest'):
                    parent = '.'.join(parts[:depth]) or 'the config'
                    remarks.append(f"--cfg-options: '{key}' is new, {parent} has no '{part}'; {advice}")
                break
    return remarks


def order_keypoints(config: Config) -> None:
    """Sort ``keypoint_info`` and ``skeleton_info`` by number, in place.

    MMEngine writes the keys of a dict sorted as text (10 before 2), and MMPose takes the index of a keypoint's mirror
    partner from the order of the dict. With more than ten keypoints, the config of a work_dir would flip wrongly.

    >>> config = Config({'metainfo': {'keypoint_info': {0: {}, 10: {}, 2: {}}}})
    >>> order_keypoints(config)
    >>> list(config.metainfo.keypoint_info)
    [0, 2, 10]
    """
    for _, node in walk(config._cfg_dict):
        for name in ('keypoint_info', 'skeleton_info'):
            entries = node.get(name)
            if isinstance(entries, dict) and all(isinstance(key, int) for key in entries):
                node[name] = dict(sorted(entries.items()))


def drop_hooks_switched_off(config: Config) -> None:
    """Remove default hooks that are None, in place; MMEngine's own hooks stay, because its runner handles None there.

    >>> config = Config({'default_hooks': {'distill': None, 'timer': None, 'logger': {'type': 'LoggerHook'}}})
    >>> drop_hooks_switched_off(config)
    >>> list(config.default_hooks)
    ['timer', 'logger']
    """
    hooks = config.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None and name not in MMENGINE_HOOKS]:
        del hooks[name]


def check_keys(config: Any) -> None:
    """Refuse keys that cannot be names of arguments, in dicts with a ``type``.

    Args:
        config: A config or a part of one.

    Raises:
        ConfigError: Naming the first such key.

    >>> check_keys({'model': {'type': 'GFL', 'backbone': {}}, 'labels': {0: 'cell'}})
    """
    for path, node in walk(config):
        wrong = [key for key in node if not isinstance(key, str) or not key] if 'type' in node else []
        if wrong:
            raise ConfigError(f"{path}: the key {wrong[0]!r} is not the name of an argument of '{node['type']}'")


def load_config(path: str, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config, apply ``--cfg-options`` and register the package of its ``default_scope``.

    Args:
        path: A file, or ``package::path``.
        options: Dotted key to value.

    Raises:
        ConfigError: If the config cannot be read or an option does not fit it.
        MissingDependencyError: If a package that it needs is not installed.
    """
    from ..utils.cli import note

    config = read_config(path)
    options = dict(options or {})
    for remark in unknown_options(config, options):
        note(remark)
    merge_options(config, options, '--cfg-options')
    check_keys(config._cfg_dict)
    order_keypoints(config)
    drop_hooks_switched_off(config)
    set_scope(config)
    register_scope(config.get('default_scope') or 'mmengine')
    return config
