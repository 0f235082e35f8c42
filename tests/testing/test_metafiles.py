"""Metafiles that are parsed once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config, utils
from mmengine.fileio import load

from kd_plugins.testing import metafiles
from kd_plugins.testing.metafiles import parse_metafiles, parse_metafiles_once


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are parsed from here on."""
    files: list[str] = []
    load = metafiles.load
    metafiles._parsed.cache_clear()
    monkeypatch.setattr(utils, 'load', utils.load)  # restored at the end

    def recorded(path: str) -> Any:
        files.append(path)
        return load(path)

    monkeypatch.setattr(metafiles, 'load', recorded)
    return files


def test_a_file_is_parsed_once_until_it_changes(tmp_path: Path, parsed: list[str]) -> None:
    path = tmp_path / 'meta.yml'
    path.write_text('a: 1')
    parse_metafiles_once()
    assert utils.load(str(path)) == utils.load(str(path)) == {'a': 1} and len(parsed) == 1
    path.write_text('a: 2')
    os.utime(path, (1, 1))
    assert utils.load(str(path)) == {'a': 2} and len(parsed) == 2


def test_a_config_of_a_package_is_found_without_parsing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsed: list[str]
) -> None:
    pytest.importorskip('mmdet')
    (tmp_path / 'config.py').write_text("_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\n")
    monkeypatch.setattr(utils, 'load', load)
    usual = Config.fromfile(tmp_path / 'config.py')
    parse_metafiles_once()
    parse_metafiles('mmdet')
    count = len(parsed)
    assert count > 1 and Config.fromfile(tmp_path / 'config.py').to_dict() == usual.to_dict()
    assert len(parsed) == count
