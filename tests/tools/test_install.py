"""The installer of the environment: a finished one is left alone, and errors are one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.setup import install as installer
from tools.setup.environment import Environment, InstallError

ROOT = Path(__file__).resolve().parents[2]


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
