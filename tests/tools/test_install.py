"""The steps of the installer, its announcement, and its errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.setup import install as installer
from tools.setup.environment import Environment, InstallError

ROOT = Path(__file__).resolve().parents[2]
STACK = installer.STACKS['upstream']


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Return an environment in which pip succeeds at once."""
    environment = Environment(tmp_path / 'venv')
    environment.path.mkdir()
    monkeypatch.setattr(Environment, 'create', lambda self: None)
    monkeypatch.setattr(Environment, 'versions', lambda self: {'torch': '2.13.0', 'kd-plugins': '0'})
    monkeypatch.setattr(Environment, 'missing', lambda self, requirements: list(requirements))
    monkeypatch.setattr(Environment, 'pip', lambda self, *args, **options: True)
    for name in ('install_mmcv', 'repair_opencv'):
        monkeypatch.setattr(installer, name, lambda *args: None)
    return environment


@pytest.fixture
def calls(env: Environment, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return the list of what pip is asked for."""
    asked: list[tuple[str, ...]] = []

    def pip(self: Environment, *args: str, **options: Any) -> bool:
        asked.append(args)
        return True

    monkeypatch.setattr(Environment, 'pip', pip)
    return asked


def test_finished_installation_is_left_alone(env: Environment, calls: list[tuple[str, ...]]) -> None:
    installer.install(env, 'upstream', ['pose'])
    first = len(calls)
    installer.install(env, 'upstream', [])  # extras once installed stay asked for
    assert len(calls) == first
    (env.path / 'lib/python3/site-packages/new-1.dist-info').mkdir(parents=True)
    installer.install(env, 'upstream', [])  # something else changed the environment: look again
    assert len(calls) > first
    with pytest.raises(InstallError, match='VENV=.venv-onedl'):
        installer.install(env, 'onedl', [])


def test_demo_installs_nothing_that_only_checks_and_docs_need(env: Environment, calls: list[tuple[str, ...]]) -> None:
    installer.install(env, 'upstream', [], then_demo=True)
    asked = {requirement for call in calls for requirement in call}
    assert set(installer.DEMO) <= asked and not asked & {*installer.DEV, *installer.DOCS}
    calls.clear()
    installer.install(env, 'upstream', ['dev', 'docs'])
    assert {*installer.DEV, *installer.DOCS} <= {requirement for call in calls for requirement in call}


def test_packages_that_resolve_together_are_one_call(env: Environment, calls: list[tuple[str, ...]]) -> None:
    installer.install(env, 'upstream', ['pose', 'seg'])
    (together,) = [call for call in calls if STACK['engine'] in call]
    assert {STACK['det'], 'munkres', 'regex'} <= set(together) and '--no-deps' not in together
    for name in ('mmpose==1.3.2', STACK['seg']):
        (alone,) = [call for call in calls if name in call]
        assert '--no-deps' in alone


def test_announcement_counts_what_is_lacking(env: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    installer.announce(env, STACK, ['docs'], then_demo=True)
    printed = capsys.readouterr().out
    assert printed.startswith('This takes about ') and printed.count('\n') == 6
    packages = env.path / 'lib/python3/site-packages'
    for name in ('torch-2.13.0', 'mmdet-3.3.0', 'mmcv-2.1.0'):
        (packages / f'{name}.dist-info').mkdir(parents=True)
    installer.announce(env, STACK, [], then_demo=True)
    assert capsys.readouterr().out.splitlines()[1].startswith('  the demo: two trainings side by side  ')
    installer.announce(env, STACK, [], then_demo=False)
    assert capsys.readouterr().out == ''


def test_announcement_comes_first(env: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    installer.install(env, 'upstream', [], then_demo=True)
    assert capsys.readouterr().out.startswith('This takes about ')


def test_time_of_the_demo_is_announced_in_a_finished_environment(
    env: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    installer.install(env, 'upstream', [])
    capsys.readouterr()
    installer.install(env, 'upstream', [], then_demo=True)
    assert 'the demo: two trainings side by side' in capsys.readouterr().out
    installer.install(env, 'upstream', [])
    assert capsys.readouterr().out == ''


def test_torch_falls_back_to_the_next_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env = Environment(tmp_path)
    asked = []

    def pip(self: Environment, *args: str) -> bool:
        asked.append(args)
        self.log.write_text('ERROR: No matching distribution found for torch==2.13.0+cpu')
        return '+cpu' not in args[1]

    monkeypatch.setattr(installer.shutil, 'which', lambda name: None)
    monkeypatch.delenv('KD_TORCH', raising=False)
    monkeypatch.setattr(Environment, 'versions', lambda self: {'torch': '2.13.0'} if asked else {})
    monkeypatch.setattr(Environment, 'missing', lambda self, requirements: [])
    monkeypatch.setattr(Environment, 'pip', pip)
    installer.install_torch(env, ['wheel'])
    assert asked == [('install', 'torch==2.13.0+cpu', 'wheel'), ('install', 'torch==2.13.0', 'wheel')]


def test_torch_of_the_user_is_installed_alone(env: Environment, calls: list[Any], monkeypatch: Any) -> None:
    monkeypatch.setenv('KD_TORCH', 'torch==2.6.0 --index-url file:///wheels')
    monkeypatch.setattr(Environment, 'versions', lambda self: {'torch': '2.6.0+cpu'} if calls else {})
    installer.install_torch(env, ['wheel'])
    assert calls == [('install', 'torch==2.6.0', '--index-url', 'file:///wheels'), ('install', 'wheel', 'numpy')]


@pytest.mark.parametrize(('torch', 'numpy'), [('2.0.0+cu117', 'numpy<2'), ('2.2.2', 'numpy<2'), ('2.10.0', 'numpy')])
def test_numpy_is_the_one_that_torch_was_built_for(
    env: Environment, calls: list[Any], monkeypatch: pytest.MonkeyPatch, torch: str, numpy: str
) -> None:
    monkeypatch.setattr(Environment, 'versions', lambda self: {'torch': torch})
    installer.install_torch(env, ['wheel'])
    assert calls == [('install', 'wheel', numpy)]
    installer.constrain(env, STACK)
    assert env.constraints.read_text().split() == [f'torch=={torch}', numpy, STACK['setuptools']]


def test_unknown_extra_is_one_sentence() -> None:
    command = [sys.executable, str(ROOT / 'tools/setup/install.py'), '--extras', 'poes']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ''
    valid = 'pose, seg, det3d, volume, timm, views, export, docs, dev (det is always there)'
    assert done.stderr == f"make install: there is no extra 'poes'; valid: {valid}\n"
