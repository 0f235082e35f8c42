"""Trainings and tests of a comparison: which are started, with which words, and what a failure stops."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from kd_plugins.comparison import execution
from kd_plugins.comparison.plan import Arm, Run, read_record
from kd_plugins.errors import KDPluginsError

ARM = Arm('plain', 'plain.py', 3)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands in place of processes; one that names ``seed_1`` fails, ``seed_9`` leaves no log."""
    executed: list[list[str]] = []

    def execute(command: Sequence[str], log: Path, jobs: int = 1) -> None:
        executed.append(list(command))
        if 'seed_1' in ' '.join(command):
            raise KDPluginsError(f"'{log}' ended with status 1: boom")
        if 'seed_9' not in ' '.join(command):
            scalars = log.parent / '20260101_000000' / 'vis_data' / 'scalars.json'
            scalars.parent.mkdir(parents=True)
            scalars.write_text('{"AP": 0.5, "step": 2}\n')

    monkeypatch.setattr(execution, 'execute', execute)
    return executed


def run(folder: Path, seed: int = 0, state: str = 'new') -> Run:
    return Run(ARM, seed, folder / f'seed_{seed}', state)


def test_finished_runs_are_left_alone(
    tmp_path: Path, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run(tmp_path, 0, 'finished'), run(tmp_path, 2), run(tmp_path, 3, 'resume')]
    assert execution.perform_all(runs, ['a.b=1']) == []
    assert len(commands) == 2
    first, second = commands
    assert first[:4] == [sys.executable, '-m', 'kd_plugins', 'train'] and 'a.b=1' in first and '--resume' not in first
    assert '--resume' in second
    out = capsys.readouterr().out
    assert '[1/3] plain seed 0: finished before' in out and '[2/3] plain seed 2: started' in out
    assert '[3/3] plain seed 3: resumed' in out


def test_a_failure_does_not_stop_the_others(tmp_path: Path, commands: list[list[str]]) -> None:
    failures = execution.perform_all([run(tmp_path, 1), run(tmp_path, 2)], [])
    assert len(commands) == 2 and len(failures) == 1
    assert failures[0].startswith('[1/2] plain seed 1: ') and failures[0].endswith('status 1: boom')


def test_a_training_that_ends_by_itself_is_recorded(tmp_path: Path, commands: list[list[str]]) -> None:
    assert execution.perform_all([run(tmp_path), run(tmp_path, 1)], []) != []
    assert read_record(tmp_path / 'seed_0')['ended'] and not read_record(tmp_path / 'seed_1')['ended']


def test_a_training_without_a_log_is_said_to_have_none(tmp_path: Path, commands: list[list[str]]) -> None:
    (failure,) = execution.perform_all([run(tmp_path, 9)], [])
    assert 'holds no log of a validation' in failure and 'LocalVisBackend' in failure


def test_the_last_checkpoint_is_tested_once(tmp_path: Path, commands: list[list[str]]) -> None:
    finished = run(tmp_path, 0, 'finished')
    finished.folder.mkdir()
    for epoch in (1, 2):
        torch.save({'state_dict': {}}, finished.folder / f'epoch_{epoch}.pth')
    assert execution.perform_all([finished], ['x=1'], test_last=True) == []
    (command,) = commands
    assert command[3:] == [
        *('test', 'plain.py', str(finished.folder / 'epoch_2.pth')),
        *('--work-dir', str(finished.folder / 'test'), '--cfg-options', 'x=1'),
    ]


def test_a_run_without_a_checkpoint_cannot_be_tested(tmp_path: Path, commands: list[list[str]]) -> None:
    (failure,) = execution.perform_all([run(tmp_path, 0, 'finished')], [], test_last=True)
    assert 'holds no readable checkpoint to test' in failure and not commands
