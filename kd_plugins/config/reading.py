"""Reading of config files, with errors that a person can act on."""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import (
    ConfigError,
    KDPluginsError,
    MissingDependencyError,
    extra_note,
    import_fault,
    missing_package,
    nearest,
)
from ..utils.argument_types import shown


def read_config(path: str, key: str = 'config') -> Config:
    """Read a config file or ``package::path``.

    Args:
        path: ``my_config.py`` or, from an installed package, ``mmdet::gfl/gfl_r50_fpn_1x_coco.py``.
        key: Name of the config in error sentences.

    Raises:
        ConfigError: If the file does not exist or cannot be parsed.
        MissingDependencyError: If a package that it names is not installed.
    """
    package, colons, _ = path.partition('::')
    if colons and not _is_installed(package):
        raise _missing_package(key, path, package)  # MMEngine would try to install it
    try:
        if colons:
            from mmengine.hub import get_config

            config: Any = get_config(path)
        else:
            config = Config.fromfile(path)
        drop_scope(config._cfg_dict)  # a config of MMEngine's new style imports a class when its value is read
    except ModuleNotFoundError as error:
        missing = missing_package(error) or (package if colons else None)
        if missing is None:
            raise ConfigError(f"{key}: '{path}' cannot be read: {_reason(error)}") from error
        raise _missing_package(key, path, missing) from error
    except ImportError as error:
        raise _failed_import(key, path, error) from error
    except FileNotFoundError as error:
        raise _missing_file(key, path, error) from error
    except RecursionError as error:
        raise ConfigError(f"{key}: '{path}' cannot be read: a file of its _base_ inherits from itself") from error
    except Exception as error:  # a config file is a program
        raise ConfigError(f"{key}: '{path}' cannot be read: {_reason(error)}") from error
    return config


def is_new_style(config: Config) -> bool:
    """Return whether a config is written in MMEngine's new style: ``with read_base():``, and classes for ``type``.

    An assignment in a config that inherits it replaces the value of the base, and does not merge with it.

    Args:
        config: A config of :func:`read_config`.
    """
    path = str(config.filename or '')
    return Path(path).is_file() and bool(Config._is_lazy_import(path))


def merge_options(config: Config, options: Mapping[str, Any], key: str) -> None:
    """Change a config, in place, as ``--cfg-options`` does.

    Args:
        config: The config.
        options: Dotted key to value.
        key: Name of the options in error sentences.

    Raises:
        ConfigError: Naming the first option that does not fit the config.
    """
    for name, value in options.items():
        try:
            config.merge_from_dict({name: value})
        except (TypeError, KeyError, AttributeError, AssertionError, ValueError, IndexError) as error:
            text = ' '.join(str(error).split())
            raise ConfigError(f'{key}: {name}={shown(value)} does not fit the config: {text}') from error


def read_changed(source: str | Mapping[str, Any], options: Mapping[str, Any], key: str) -> Config:
    """Return the config of a part of a config, such as a teacher, with its ``cfg_options``.

    Args:
        source: Path of the config, or the config itself, which stays as it is.
        options: Dotted key to value.
        key: Config key of the part, whose ``config`` and ``cfg_options`` they are.

    Raises:
        ConfigError: If the config cannot be read, or an option does not fit it.
        MissingDependencyError: If a package that it names is not installed.

    >>> read_changed({'model': {'depth': 50}}, {'model.depth': 18}, 'teacher').model.depth
    18
    """
    config = read_config(source, f'{key}.config') if isinstance(source, str) else Config(copy.deepcopy(dict(source)))
    merge_options(config, options, f'{key}.cfg_options')
    return config


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # no name, or a part of a package that is not there
        return False


def _reason(error: BaseException) -> str:
    """Return type, place and text of an error in a config file, in one line."""
    if isinstance(error, SyntaxError):
        return f'{type(error).__name__} in line {error.lineno}: {error.msg}'.replace('. Perhaps', ', perhaps').rstrip(
            '.?'
        )
    file, line, trace = None, '', error.__traceback__
    while trace is not None:
        # MMEngine runs a copy of each file, in a call that knows the name of the file.
        name = trace.tb_frame.f_code.co_name
        if name == '_file2dict':
            file = trace.tb_frame.f_locals.get('filename')
        elif name == '<module>' and trace.tb_frame.f_code.co_filename.startswith(tempfile.gettempdir()):
            line = f" in line {trace.tb_lineno} of '{file}'"
        trace = trace.tb_next
    text = ' '.join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split()).rstrip('.')
    return f'{type(error).__name__}{line}' + (f': {text[:300]}' if text else '')


def drop_scope(node: Any) -> None:
    """Remove ``_scope_='kd_plugins'``, in place, so that the config's ``default_scope`` holds.

    MMEngine marks what ``_base_ = 'kd_plugins::...'`` brings with the name of the package. The models of these configs
    are MMDetection's or MMPose's, and a mark would let MMEngine look for them here.
    """
    if isinstance(node, dict):
        if node.get('_scope_') == 'kd_plugins':
            del node['_scope_']
        children: Iterable[Any] = node.values()
    else:
        children = node if isinstance(node, (list, tuple)) else ()
    for child in children:
        drop_scope(child)


def _missing_package(key: str, path: str, package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"{key}: '{path}' needs the package '{package}', which is not installed{extra_note(package)}; "
        'kd_plugins doctor prints the command'
    )


def _failed_import(key: str, path: str, error: ImportError) -> KDPluginsError:
    """Return the error about an import, of ``custom_imports`` or of a config in MMEngine's new style.

    MMEngine's text about ``custom_imports`` ends with the advice, after all folders of ``sys.path``.
    """
    named = re.fullmatch(r'Failed to import ([\w.]+)', str(error.__cause__))
    if named is None:
        return ConfigError(f"{key}: '{path}' cannot be read: {_reason(error)}")
    module, missing = named[1], missing_package(error)
    if missing is None:
        first = getattr(error.__cause__, '__context__', None)
        fault = import_fault(first if isinstance(first, ImportError) else error, module)
        return ConfigError(f"{key}: '{path}' has '{module}' in custom_imports, and {fault}")
    if not f'{module}.'.startswith(f'{missing}.'):
        return _missing_package(key, path, missing)
    return MissingDependencyError(
        f"{key}: '{path}' has '{module}' in custom_imports, and '{missing}' is not found; install the package, or set "
        'the environment variable PYTHONPATH to the folder that holds it, for example PYTHONPATH=.'
    )


def _missing_file(key: str, path: str, error: FileNotFoundError) -> ConfigError:
    """Return the error about a config, or one of its bases, with the nearest files beside the missing one."""
    # MMEngine raises it with a sentence of its own.
    missing = Path(str(error.filename or re.sub(r'^file "(.*)" does not exist$', r'\1', str(error))))
    if missing.is_dir():
        through = '' if missing.name == Path(path).name else f"cannot be read because '{missing}' "
        return ConfigError(f"{key}: '{path}' {through}is a folder; {nearest(missing, sorted(missing.glob('*.py')))}")
    beside = sorted(missing.parent.glob('*.py'))
    if missing.name == Path(path).name:
        named, candidates = path, [str(Path(path).with_name(file.name)) for file in beside]
    else:
        named, candidates = str(missing), [str(file) for file in beside]
    advice = nearest(named, candidates) if candidates else f"'{missing.parent}' holds no config"
    return ConfigError(f"{key}: '{path}' cannot be read because '{missing}' does not exist; {advice}")
