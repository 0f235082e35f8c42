"""Diagnosis of parts that are installed, missing or broken, or that crash the interpreter at import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kd_plugins.diagnostics import doctor
from kd_plugins.diagnostics.doctor import BROKEN, CORE, MISSING, OK, Diagnosis, Finding, Part
from kd_plugins.errors import EXTRAS

ROOT = Path(__file__).resolve().parents[2]


def finding(module: str, group: str, state: str = MISSING, pip: str = '') -> Finding:
    return Finding(Part(module, (module,), group, pip), state)


@pytest.fixture
def odd_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'raises_runtime_error.py').write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / 'crashes.py').write_text('import os\nos._exit(11)')
    (tmp_path / 'prints.py').write_text("print('noise on standard output')")
    (tmp_path / 'needs_other.py').write_text('import no_such_module')
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures('odd_modules')
def test_probe_survives_every_kind_of_failed_import() -> None:
    answers = doctor.probe(['raises_runtime_error', 'crashes', 'prints', 'needs_other', 'absent', 'json.decoder'])
    assert answers['raises_runtime_error'] == (BROKEN, 'RuntimeError: operator torchvision::nms does not exist')
    assert answers['crashes'][0] == BROKEN and 'crashed' in answers['crashes'][1]
    assert answers['prints'] == (OK, '')
    assert answers['needs_other'] == (BROKEN, "No module named 'no_such_module'")
    assert answers['absent'] == (MISSING, '')
    assert answers['json.decoder'] == (OK, '')


def test_a_torchvision_that_breaks_at_import_is_named_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'torchvision.py').write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, 'installed', lambda names: '0.28' if 'torchvision' in names else '')
    diagnosis = doctor.diagnose([])
    assert diagnosis.exit_status == 1
    ((sentence, command),) = diagnosis.problems
    assert sentence.startswith('torchvision does not import with torch') and '\n' not in sentence
    assert command.endswith('-m pip uninstall -y torchvision')


def test_two_stacks_at_once_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, 'installed', lambda names: '1.0' if 'torchvision' not in names else '')
    assert doctor.find_stack() == 'both'
    assert 'overwrite each other' in doctor.diagnose([]).problems[0][0]


def test_a_distribution_without_its_module_is_broken() -> None:
    # For example mmcv that was built without torch: it is installed, but has no mmcv.ops.
    diagnosis = doctor.diagnose([Part('pytest.no_such_part', ('pytest',), 'det')])
    assert diagnosis.findings[0].state == BROKEN
    assert diagnosis.exit_status == 1


def test_a_missing_requirement_is_a_failure_and_a_missing_extra_is_not() -> None:
    assert Diagnosis('upstream', [finding('mmpose', 'pose')]).exit_status == 0
    assert Diagnosis('upstream', [finding('torch', CORE)]).exit_status == 1
    assert Diagnosis('upstream', [finding('mmcv.ops', 'det', BROKEN)]).exit_status == 1
    assert Diagnosis('both', [], [('two stacks', 'fix')]).exit_status == 1


def test_fix_in_a_checkout_is_one_make_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'prefix', str(ROOT / '.venv'))
    lacking = [finding('mmpose', 'pose'), finding('munkres', 'pose'), finding('mmseg', 'seg')]
    assert doctor.fix_command(lacking, 'upstream', ROOT) == 'make install EXTRAS="pose seg"'
    assert doctor.fix_command([finding('mmdet', 'det')], 'upstream', ROOT) == 'make install'
    monkeypatch.setattr(sys, 'prefix', str(ROOT / '.venv-onedl'))
    assert doctor.fix_command([finding('torch', CORE)], 'onedl', ROOT) == 'make install STACK=onedl VENV=.venv-onedl'


def test_fix_outside_a_checkout_is_pip() -> None:
    lacking = [finding('mmpose', 'pose', pip='--no-deps mmpose'), finding('munkres', 'pose')]
    command = doctor.fix_command(lacking, 'upstream', None)
    assert command.count('pip install') == 2
    assert command.endswith('pip install --no-deps mmpose') and 'install munkres &&' in command


def test_every_part_belongs_to_an_extra_of_the_project() -> None:
    text = (ROOT / 'pyproject.toml').read_text(encoding='utf-8')
    section = text.partition('[project.optional-dependencies]')[2].partition('[tool.')[0]
    for part in doctor.PARTS:
        assert part.group == CORE or f'\n{part.group} = [' in section, part


def test_error_sentences_name_the_extras_of_the_diagnosis():
    known = {(part.module.partition('.')[0], part.group) for part in doctor.PARTS}
    assert {(package, extra) for extra, packages in EXTRAS.items() for package in packages} <= known
