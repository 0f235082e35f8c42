"""Config files by path and by package, and one sentence for those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.config.reading import is_new_style, read_config
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
        (
            '\na = dict(x=1\n',
            "teacher.config: '.*broken.py' cannot be read: SyntaxError in line 2: '.' was never closed",
        ),
        ('c = 1\na = b\n', "cannot be read: NameError in line 2 of '.*broken.py': name 'b' is not defined$"),
        ('a = 1 / 0\n', 'cannot be read: ZeroDivisionError in line 1 of .*broken.py.: division by zero$'),
        ('raise RuntimeError\n', 'cannot be read: RuntimeError in line 1 of .*broken.py.$'),
        ("_base_ = './broken.py'\n", 'cannot be read: a file of its _base_ inherits from itself$'),
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
    with pytest.raises(ConfigError, match=r"^config: '.*' is a folder; nearest: '.*/gfl_r18.py'$"):
        read_config(str(tmp_path))
    (tmp_path / 'child.py').write_text("_base_ = './bases'\n")
    (tmp_path / 'bases').mkdir()
    with pytest.raises(ConfigError, match=r"^config: '.*child.py' cannot be read because '.*bases' is a folder; "):
        read_config(str(tmp_path / 'child.py'))


def test_missing_packages() -> None:
    with pytest.raises(MissingDependencyError, match="needs the package 'no_such_package', which is not installed"):
        read_config('no_such_package::a.py')


def test_an_import_error_without_a_package_keeps_its_message(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text("raise ModuleNotFoundError('see the guide')\n")
    with pytest.raises(
        ConfigError, match=r"mine.py' cannot be read: ModuleNotFoundError in line 1 of .*: see the guide$"
    ):
        read_config(str(tmp_path / 'mine.py'))


def test_a_base_by_name_is_the_config_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('mmdet')
    monkeypatch.chdir(tmp_path)
    Path('mine.py').write_text("_base_ = 'kd_plugins::gfl/gfl_r50_fpn_1x_coco_ema-ld.py'\nwork_dir = 'here'\n")
    named = read_config('kd_plugins::gfl/gfl_r50_fpn_1x_coco_ema-ld.py')
    inherited = read_config('mine.py')
    assert named.default_hooks.distill.to_dict() == inherited.default_hooks.distill.to_dict()
    assert named.get('work_dir') is None and inherited.work_dir == 'here'


def test_a_base_by_name_keeps_the_scope_of_its_model(tmp_path: Path) -> None:
    pytest.importorskip('mmdet')
    (tmp_path / 'mine.py').write_text("_base_ = 'kd_plugins::gfl/gfl_r18_digits.py'\n")
    config = read_config(str(tmp_path / 'mine.py'))
    assert config.default_scope == 'mmdet' and config.model.type == 'GFL' and '_scope_' not in config.model
    assert '_scope_' not in config.train_dataloader.dataset


@pytest.mark.parametrize(
    ('path', 'sentence'),
    [
        ('kd_plugins::gfl/gfl_r18_digit.py', "nearest: 'kd_plugins::gfl/gfl_r18_digits.py'"),
        ('kd_plugins::gfl_r18_digits.py', 'cannot be read: ValueError'),
    ],
)
def test_a_name_that_does_not_exist(path: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_config(path)


def test_a_base_by_a_name_that_does_not_exist_gets_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text("_base_ = 'kd_plugins::gfl/gfl_r18_digit.py'\n")
    with pytest.raises(ConfigError, match=r"mine.py' cannot be read .*; nearest: '.*gfl/gfl_r18_digits\.py'"):
        read_config(str(tmp_path / 'mine.py'))


def test_the_package_of_a_base_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.config.config.is_installed', lambda package: False)
    (tmp_path / 'mine.py').write_text("_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\n")
    with pytest.raises(MissingDependencyError, match="mine.py' needs the package 'mmdet', which is not installed"):
        read_config(str(tmp_path / 'mine.py'))


@pytest.mark.parametrize('path', ['::', '::a.py', 'mm det::a.py', 'no.such::a.py'])
def test_what_is_no_package(path: str) -> None:
    with pytest.raises(KDPluginsError, match=f"^teacher.config: '{path}' needs the package"):
        read_config(path, key='teacher.config')


def new_style(folder: Path, text: str) -> str:
    """Write a config of MMEngine's new style and one that reads it; return the path of the second."""
    (folder / 'parts.py').write_text(text)
    path = folder / 'mine.py'
    path.write_text('from mmengine.config import read_base\nwith read_base():\n    from .parts import *\n')
    return str(path)


def test_the_new_style_of_mmengine_is_told_from_the_old(tmp_path: Path) -> None:
    path = new_style(tmp_path, 'from torch.nn import ReLU\nmodel = dict(type=ReLU)\n')
    assert is_new_style(read_config(path))
    (tmp_path / 'old.py').write_text("model = dict(type='ReLU')\n")
    assert not is_new_style(read_config(str(tmp_path / 'old.py')))


@pytest.mark.parametrize(
    ('text', 'error', 'sentence'),
    [
        (
            'from torch.nn import RELU\nmodel = dict(type=RELU)\n',
            ConfigError,
            'cannot be read: ImportError: Failed to import RELU from torch.nn in .*parts.py, line 1$',
        ),
        (
            'from no_such_package import Net\nmodel = dict(type=Net)\n',
            MissingDependencyError,
            "needs the package 'no_such_package', which is not installed",
        ),
    ],
)
def test_a_name_that_the_new_style_cannot_import(
    tmp_path: Path, text: str, error: type[Exception], sentence: str
) -> None:
    """MMEngine imports it when its value is read, after the file itself was read."""
    with pytest.raises(error, match=sentence):
        read_config(new_style(tmp_path, text))


CUSTOM = "custom_imports = dict(imports=['{}'], allow_failed_imports=False)\n"


@pytest.mark.parametrize(
    ('content', 'named', 'sentence'),
    [
        (
            None,
            'my_project.parts',
            r"mine.py' has 'my_project.parts' in custom_imports, and 'my_project' is not found; .* PYTHONPATH=\.$",
        ),
        (
            'import no_such_package\n',
            'own_part',
            "needs the package 'no_such_package', which is not installed",
        ),
        (
            'from torch import no_such_name\n',
            'own_part',
            "has 'own_part' in custom_imports, and own_part cannot be imported .cannot import name 'no_such_name'",
        ),
    ],
)
def test_a_module_of_ones_own_that_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, named: str, sentence: str
) -> None:
    """MMEngine's text lists ``sys.path``, and the advice after it was cut off."""
    monkeypatch.syspath_prepend(tmp_path)
    if content is not None:
        (tmp_path / f'{named}.py').write_text(content)
    (tmp_path / 'mine.py').write_text(CUSTOM.format(named))
    with pytest.raises(KDPluginsError, match=sentence):
        read_config(str(tmp_path / 'mine.py'))
