"""Metafiles of installed OpenMMLab packages, parsed once in a process."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import Any

from mmengine.config import utils
from mmengine.fileio import load
from mmengine.utils import get_installed_path


@cache
def _parsed(path: str, time: int) -> Any:
    return load(path)


def _load(file: str, *args: Any, **kwargs: Any) -> Any:
    return _parsed(file, os.stat(file).st_mtime_ns)


def parse_metafiles_once() -> None:
    """Let MMEngine keep what it has parsed of the metafiles of packages, to the end of the process.

    For each base of a config that lies in another package, ``Config.fromfile`` parses all metafiles of that package:
    about a hundred YAML files of MMDetection, two thirds of the time of a load. A file that has changed is parsed
    again.
    """
    utils.load = _load


def parse_metafiles(package: str) -> None:
    """Parse all metafiles of an installed package, so that processes forked from this one have them.

    Args:
        package: Name of its module.
    """
    with suppress(ValueError):  # no config has an empty name
        utils._get_cfg_metainfo(get_installed_path(package), '')
