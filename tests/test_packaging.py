"""What the wheel holds, and that the environment's installer is idempotent and says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kd_plugins
from tools.setup import install as installer
from tools.setup.environment import Environment, InstallError

ROOT = Path(__file__).resolve().parents[1]
hatchling = pytest.importorskip('hatchling')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    folder = str(tmp_path_factory.mktemp('wheel'))
    built = next(WheelBuilder(str(ROOT)).build(directory=folder, versions=['standard']))
    return zipfile.ZipFile(built)


def test_wheel_contains_package_configs_and_tools(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for folder in ('configs', 'tools'):
        sources = [path for path in (ROOT / folder).rglob('*.py') if '__pycache__' not in path.parts]
        assert sources
        for path in sources:
            assert f'kd_plugins/.mim/{path.relative_to(ROOT).as_posix()}' in names
    assert 'kd_plugins/hooks/__init__.py' in names
    assert not any('__pycache__' in name or name.startswith(('tests/', 'docs/')) for name in names)


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    metadata = next(name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    text = wheel.read(metadata).decode()
    assert f'Version: {kd_plugins.__version__}' in text
    assert 'License-Expression: Apache-2.0' in text
    hard = [line for line in text.splitlines() if line.startswith('Requires-Dist') and 'extra ==' not in line]
    assert sorted(line.split()[1].split('>')[0] for line in hard) == ['mmengine', 'numpy', 'pycocotools', 'torch']
    for extra in ('det', 'pose', 'seg', 'det3d', 'volume', 'docs', 'dev'):
        assert f'Provides-Extra: {extra}' in text


def test_editable_wheel_holds_no_copy_of_the_configs(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    built = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=['editable']))
    assert not [name for name in zipfile.ZipFile(built).namelist() if '.mim' in name]


def test_finished_installation_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = Environment(tmp_path / 'venv')
    env.path.mkdir()
    calls: list[str] = []
    monkeypatch.setattr(Environment, 'create', lambda self: calls.append('create'))
    monkeypatch.setattr(Environment, 'versions', lambda self: {'torch': '2.13.0', 'kd-plugins': '0'})
    monkeypatch.setattr(Environment, 'pip', lambda self, *args: True)
    for name in ('carry_out', 'install_torch', 'install_mmcv', 'repair_opencv'):
        monkeypatch.setattr(installer, name, lambda *args: None)
    installer.install(env, 'upstream', ['pose'])
    installer.install(env, 'upstream', [])  # extras once installed stay asked for
    assert calls == ['create']
    (env.path / 'lib/python3/site-packages/new-1.dist-info').mkdir(parents=True)
    installer.install(env, 'upstream', [])  # something else changed the environment: look again
    assert calls == ['create', 'create']
    with pytest.raises(InstallError, match='VENV=.venv-onedl'):
        installer.install(env, 'onedl', [])


def test_unknown_extra_is_one_sentence() -> None:
    command = [sys.executable, str(ROOT / 'tools/setup/install.py'), '--extras', 'poes']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ''
    assert (
        done.stderr == "make install: there is no extra 'poes'; valid: pose, seg, det3d, volume (det is always there)\n"
    )


def test_missing_compiler_is_said_before_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', '')
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(InstallError, match='no C\\+\\+ compiler'):
        installer.check_compiler()


@pytest.mark.skipif(os.name == 'nt', reason='a POSIX folder layout')
def test_requirements_are_compared_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    env = Environment(Path(sys.prefix))
    installed = env.versions()['pytest']
    assert env.missing([f'pytest=={installed}', 'pytest>=10000', 'no-such-distribution']) == [
        'pytest>=10000',
        'no-such-distribution',
    ]
