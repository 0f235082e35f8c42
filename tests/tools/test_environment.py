"""A virtual environment from outside: requirements, calls of pip, progress, and processes that are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.setup import environment
from tools.setup.environment import Environment

POSIX = pytest.mark.skipif(os.name == 'nt', reason='POSIX folders and signals')


def clock_that_runs_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tenth of a second count as 20 s."""
    clock = SimpleNamespace(monotonic=lambda: 200.0 * time.monotonic(), sleep=lambda seconds: time.sleep(0.05))
    monkeypatch.setattr(environment, 'time', clock)


@POSIX
def test_requirements_are_compared_in_the_environment() -> None:
    env = Environment(Path(sys.prefix))
    installed = env.versions()['pytest']
    assert env.missing([f'pytest=={installed}', 'pytest>=10000', 'no-such-distribution']) == [
        'pytest>=10000',
        'no-such-distribution',
    ]


@POSIX
def test_pip_reports_success_and_keeps_its_output(tmp_path: Path) -> None:
    env = Environment(tmp_path)
    env.python = Path(sys.executable)
    assert env.pip('install', 'pytest')
    assert 'Requirement already satisfied: pytest' in env.tail(100)
    assert not env.pip('install', '--no-index', 'no-such-distribution')
    assert 'No matching distribution' in env.tail()


def test_progress_is_a_line_now_and_then_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock_that_runs_fast(monkeypatch)
    process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1)'])
    environment.wait(process, lambda seconds: f'{seconds:.0f} s' if seconds >= 30.0 else 'too early')
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.startswith('  ') and line.endswith(' s') for line in lines)


def test_progress_is_one_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock_that_runs_fast(monkeypatch)
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    monkeypatch.setenv('COLUMNS', '20')
    process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1)'])
    environment.wait(process, lambda seconds: 'compiled 3 of 77 files')
    printed = capsys.readouterr().out
    assert '\n' not in printed and printed.startswith('\r  compiled 3 of 77 \x1b[K') and printed.endswith('\r\x1b[K')


@POSIX
def test_stopping_ends_what_the_process_started(tmp_path: Path) -> None:
    script = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
pathlib.Path(r'{tmp_path}', 'partial').write_text(str(child.pid))
pathlib.Path(r'{tmp_path}', 'partial').rename(pathlib.Path(r'{tmp_path}', 'child'))
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, '-c', script], start_new_session=True)
    while not (tmp_path / 'child').exists():
        time.sleep(0.02)
    child = int((tmp_path / 'child').read_text())
    environment.stop(process)
    assert process.returncode == -signal.SIGTERM
    for _ in range(500):
        state = Path(f'/proc/{child}/stat')
        if not state.exists() or state.read_text().split()[2] == 'Z':
            break
        time.sleep(0.02)
    else:
        pytest.fail('the child still runs')
