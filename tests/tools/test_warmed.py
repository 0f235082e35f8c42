"""What the server of check_configs.py has imported before it forks."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import pytest

from kd_plugins.testing import metafiles


def test_everything_is_imported_and_parsed() -> None:
    pytest.importorskip('mmdet')
    try:
        warmed = import_module('tools.setup.warmed')
    finally:
        gc.unfreeze()
    assert {'mmdet.models', 'mmdet.visualization', 'kd_plugins.commands.preflight'} <= set(sys.modules)
    parsed = metafiles._parsed.cache_info().misses
    for package in warmed.PACKAGES:
        metafiles.parse_metafiles(package)
    assert metafiles._parsed.cache_info().misses == parsed > 100
