"""What ``kd_plugins doctor`` prints, also where nothing is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.commands import doctor as command
from kd_plugins.diagnostics import doctor
from kd_plugins.diagnostics.doctor import BROKEN, CORE, MISSING, OK, Diagnosis, Finding, Part

ROOT = Path(__file__).resolve().parents[2]


def finding(module: str, group: str, state: str, detail: str = '') -> Finding:
    return Finding(Part(module, (module,), group), state, '1.0' if state == OK else '', detail)


@pytest.mark.parametrize('rich', [True, False])
def test_gaps_come_with_their_commands(run: Any, monkeypatch: pytest.MonkeyPatch, rich: bool) -> None:
    findings = [
        finding('torch', CORE, OK),
        finding('mmpose', 'pose', MISSING),
        finding('mmcv', 'det', BROKEN, 'no ops'),
    ]
    problem = ('two stacks at once', 'pip uninstall -y mmcv')
    monkeypatch.setattr(doctor, 'diagnose', lambda: Diagnosis('upstream', findings, [problem]))
    monkeypatch.setenv('COLUMNS', '200')
    if not rich:
        monkeypatch.setitem(sys.modules, 'rich.console', None)
    status, out, _ = run(command)
    assert status == 1 and 'Something is broken.' in out
    assert 'broken: no ops' in out and 'OpenMMLab stack: upstream' in out
    assert "The extra 'pose' lacks mmpose; fix: make install" in out and 'EXTRAS="pose"' in out
    assert 'Broken: two stacks at once; fix: pip uninstall -y mmcv' in out
    assert "'torch'" not in out and 'The package itself lacks' not in out


def test_an_environment_without_gaps(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, 'diagnose', lambda: Diagnosis('onedl', [finding('torch', CORE, OK)]))
    status, out, _ = run(command)
    assert status == 0 and out.endswith('Nothing that is installed is broken.\n') and 'fix:' not in out


def test_runs_on_a_bare_python(tmp_path: Path) -> None:
    # -S and -I: no site-packages, no environment; only the standard library is left.
    command = [sys.executable, '-I', '-S', str(ROOT / 'tools' / 'doctor.py')]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert 'Traceback' not in done.stderr
    assert 'fix: make install' in done.stdout or 'Nothing that is installed is broken' in done.stdout


@pytest.mark.slow
def test_the_test_environment_itself_is_healthy() -> None:
    done = subprocess.run([sys.executable, str(ROOT / 'tools' / 'doctor.py')], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert 'OpenMMLab stack: ' in done.stdout
