"""Config files by path and by package, and one sentence for those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.config.reading import read_config
from kd_plugins.errors import ConfigError, KDPluginsError, MissingDependencyError


def test_a_file_with_its_base(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text('a = dict(x=1, y=2)\n')
    (tmp_path / 'child.py').write_text("_base_ = './base.py'\na = dict(y=3)\n")
    assert read_config(str(tmp_path / 'child.py')).a == dict(x=1, y=3)


def test_a_config_of_an_installed_package() -> None:
    pytest.importorskip('mmdet')
    assert read_config('mmdet::gfl/gfl_r50_fpn_1x_coco.py').model.type == 'GFL'


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('a = dict(x=1\n', "teacher.config: '.*broken.py' cannot be read: SyntaxError"),
        ('a = b\n', 'cannot be read: NameError'),
        ("_base_ = './nowhere.py'\n", "cannot be read because '.*nowhere.py' does not exist; nearest: '.*broken.py'"),
        ("_base_ = 'no_such_package::x/a.py'\n", 'cannot be read: .*no_such_package'),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / 'broken.py'
    path.write_text(text)
    with pytest.raises(KDPluginsError, match=sentence) as caught:
        read_config(str(path), key='teacher.config')
    assert str(caught.value).startswith('teacher.config: ')


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / 'gfl_r18.py').write_text('')
    with pytest.raises(ConfigError, match=r"^config: '.*gfl_r81.py' cannot be read .*; nearest: '.*gfl_r18.py'$"):
        read_config(str(tmp_path / 'gfl_r81.py'))
    with pytest.raises(ConfigError, match=r"'.*empty' holds no config$"):
        read_config(str(tmp_path / 'empty' / 'a.py'))


def test_missing_packages() -> None:
    with pytest.raises(MissingDependencyError, match="needs the package 'no_such_package', which is not installed"):
        read_config('no_such_package::a.py')
