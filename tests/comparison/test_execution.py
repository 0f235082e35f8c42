"""Trainings and tests of a comparison: which are started, with which words, and what a failure stops."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.comparison import execution
from kd_plugins.comparison.layers import LAYERS
from kd_plugins.comparison.plan import Arm, Run, read_record, write_record
from kd_plugins.comparison.records import place_of
from kd_plugins.errors import KDPluginsError
from kd_plugins.runner.processes import exclusive

ARM = Arm('plain', 'plain.py', 3)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands in place of processes; one that names ``seed_1`` fails, ``seed_9`` leaves no log."""
    executed: list[list[str]] = []

    def execute(command: Sequence[str], log: Path, jobs: int = 1, held: Sequence[int] = ()) -> None:
        executed.append(list(command))
        if 'seed_1' in ' '.join(command):
            raise KDPluginsError(f"'{log}' ended with status 1: boom")
        if command[3] == 'train' and 'seed_9' not in ' '.join(command):
            write_log(log.parent, 2, '20260102_000000')

    monkeypatch.setattr(execution, 'execute', execute)
    return executed


def write_log(folder: Path, step: int, start: str = '20260101_000000') -> None:
    scalars = folder / start / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text(f'{{"AP": 0.5, "step": {step}}}\n')


def run(folder: Path, seed: int = 0, state: str = 'new') -> Run:
    """Return a run whose folder is in the state."""
    made = Run(ARM, seed, folder / f'seed_{seed}', state)
    if state != 'new':
        write_log(made.folder, ARM.final_step if state == 'finished' else 1)
    return made


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
    for epoch in (1, 2):
        torch.save({'state_dict': {}}, finished.folder / f'epoch_{epoch}.pth')
    assert execution.perform_all([finished], ['x=1'], test_last=True) == []
    (command,) = commands
    assert command[3:] == [
        *('test', 'plain.py', str(finished.folder / 'epoch_2.pth')),
        *('--work-dir', str(finished.folder / 'test'), '--cfg-options', 'x=1'),
    ]


def test_an_earlier_checkpoint_is_not_tested_as_the_last_one(tmp_path: Path, commands: list[list[str]]) -> None:
    """A copy of the folder that was cut off, on its way to another machine, has a damaged last checkpoint."""
    finished = run(tmp_path, 0, 'finished')
    torch.save({'state_dict': {}}, finished.folder / 'epoch_2.pth')
    (finished.folder / 'epoch_3.pth').write_bytes(b'PK')
    (finished.folder / 'last_checkpoint').write_text('/elsewhere/seed_0/epoch_3.pth')
    (failure,) = execution.perform_all([finished], [], test_last=True)
    assert "epoch_3.pth', the last checkpoint of its run, is lost or damaged" in failure and not commands
    torch.save({'state_dict': {}}, finished.folder / 'epoch_3.pth')
    assert execution.perform_all([finished], [], test_last=True) == [] and 'epoch_3.pth' in commands[0][5]


def test_a_run_that_begins_again_is_tested_again(tmp_path: Path, commands: list[list[str]]) -> None:
    resumed = run(tmp_path, 0, 'resume')
    path = resumed.folder / 'test' / '20260101_000000' / '20260101_000000.json'
    path.parent.mkdir(parents=True)
    path.write_text('{"AP": 0.1}')
    (resumed.folder / LAYERS).write_text('{}')
    torch.save({'state_dict': {}}, resumed.folder / 'epoch_2.pth')
    assert execution.perform_all([resumed], [], test_last=True) == []
    assert [command[3] for command in commands] == ['train', 'test'] and not (resumed.folder / LAYERS).exists()


def test_a_run_that_starts_anew_has_its_present_teacher_on_record(tmp_path: Path, commands: list[list[str]]) -> None:
    """It failed before its first checkpoint; its teacher is another one by now."""
    write_record(tmp_path / 'seed_1', ARM, teachers={'big': 'old'})
    with pytest.raises(KDPluginsError, match='boom'):
        execution.train(run(tmp_path, 1), 'plain', [], 1, {'big': 'new'})
    assert read_record(tmp_path / 'seed_1')['teachers'] == {'big': 'new'}


def test_the_record_tells_the_machine(tmp_path: Path, commands: list[list[str]]) -> None:
    here = place_of(tmp_path.parent)
    execution.train(run(tmp_path), 'plain', [], 1)
    assert read_record(tmp_path / 'seed_0')['place'] == here
    write_record(tmp_path / 'seed_2', ARM, place='elsewhere', teachers={'big': 'x'})
    execution.train(run(tmp_path, 2, 'resume'), 'plain', [], 1, {'big': 'x'})
    assert read_record(tmp_path / 'seed_2')['place'] == f'elsewhere+{here}'


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path, commands: list[list[str]]) -> None:
    """Two comparisons with one baseline in a work_dir, or a training that outlived its killed parent."""
    with exclusive(tmp_path / 'seed_0'):
        (failure,) = execution.perform_all([run(tmp_path)], [])
    assert 'is still running' in failure and not commands
    write_log(tmp_path / 'seed_0', ARM.final_step)
    assert execution.perform_all([run(tmp_path)], []) == [] and not commands, 'the other process has finished it'


def test_a_full_disk_is_a_sentence_and_does_not_stop_the_others(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, *_: Any, **__: Any) -> None:
        if folder.name == 'seed_0':
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(execution, 'write_record', full)
    (failure,) = execution.perform_all([run(tmp_path), run(tmp_path, 2)], [])
    assert failure.endswith('No space left on device') and len(commands) == 1


def test_a_run_without_a_checkpoint_cannot_be_tested(tmp_path: Path, commands: list[list[str]]) -> None:
    (failure,) = execution.perform_all([run(tmp_path, 0, 'finished')], [], test_last=True)
    assert 'holds no readable checkpoint to test' in failure and not commands
