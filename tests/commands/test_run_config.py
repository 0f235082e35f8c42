"""Options that training and testing share, and the config as they change it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.commands.run_config import add_run_options, read_run_config
from kd_plugins.errors import ConfigError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / 'plain.py'
    path.write_text("default_scope = 'mmengine'\na = dict(b=1)\n")
    return path


def read(config: Path, *options: str) -> Config:
    parser = ArgumentParser()
    parser.add_argument('config')
    add_run_options(parser, 'logs and checkpoints')
    return read_run_config(parser.parse_args([str(config), *options]))


def test_the_folder_is_named_after_the_config(config: Path) -> None:
    assert read(config).work_dir == str(Path('work_dirs') / 'plain')
    assert read(config, '--work-dir', 'mine').work_dir == 'mine'
    config.write_text(config.read_text() + "work_dir = 'of the config'\n")
    assert read(config).work_dir == 'of the config'
    assert read(config, '--work-dir', 'mine').work_dir == 'mine'


def test_options_change_the_config(config: Path) -> None:
    changed = read(config, '--cfg-options', 'a.b=2', '--launcher', 'pytorch')
    assert (changed.a.b, changed.launcher, read(config).launcher) == (2, 'pytorch', 'none')


def test_a_missing_config(config: Path) -> None:
    with pytest.raises(ConfigError, match="plian.py' cannot be read"):
        read(config.with_name('plian.py'))
