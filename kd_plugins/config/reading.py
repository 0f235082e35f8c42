"""Reading config files with errors that a person can act on."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError, MissingDependencyError, nearest


def read_config(path: str, key: str = 'config') -> Config:
    """Read a config file or ``package::path``.

    Args:
        path: ``configs/x.py`` or, from an installed package, ``mmdet::gfl/gfl_r50_fpn_1x_coco.py``.
        key: What to call it in an error sentence.

    Raises:
        ConfigError: If the file does not exist or cannot be parsed.
        MissingDependencyError: If the package of ``package::path`` is not installed.
    """
    package, colons, _ = path.partition('::')
    if colons and find_spec(package) is None:
        # MMEngine would try to install it.
        raise MissingDependencyError(
            f"{key}: '{path}' needs the package '{package}', which is not installed; "
            'kd_plugins doctor prints the command'
        )
    try:
        if not colons:
            return Config.fromfile(path)
        from mmengine.hub import get_config

        config: Any = get_config(path)
        return config
    except ModuleNotFoundError as error:
        missing = error.name or package
        raise MissingDependencyError(
            f"{key}: '{path}' needs the package '{missing}', which is not installed; "
            'kd_plugins doctor prints the command'
        ) from error
    except FileNotFoundError as error:
        # MMEngine raises it with a sentence of its own.
        name = str(error.filename or re.sub(r'^file "(.*)" does not exist$', r'\1', str(error)))
        folder = Path(name if colons else path).parent
        there = sorted(str(Path(path).with_name(found.name)) for found in folder.glob('*.py'))
        advice = nearest(path, there) if there else f"'{folder}' holds no config"
        raise ConfigError(f"{key}: '{path}' cannot be read because '{name}' does not exist; {advice}") from error
    except (SyntaxError, KeyError, TypeError, AttributeError, NameError, AssertionError) as error:
        raise ConfigError(f"{key}: '{path}' cannot be read: {type(error).__name__}: {error}") from error
