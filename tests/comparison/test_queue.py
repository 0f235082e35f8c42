"""Queue of experiments: order, checkpoints of earlier runs, failures, further seeds."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.comparison import queue
from kd_plugins.comparison.experiment import Task
from kd_plugins.runner.run_log import read_test
from tests.comparison.experiment_runs import Trainings, experiment_of, trainings

pytest.importorskip('scipy')
__all__ = ['trainings']


def test_each_run_starts_from_the_checkpoints_that_it_names(tmp_path: Path, trainings: Trainings) -> None:
    tasks = experiment_of(tmp_path).tasks((0, 1))
    assert queue.perform(tasks) == []
    assert trainings.runs == [f'{arm}/seed_{seed}' for arm, seed in ORDER]
    words = dict(zip(trainings.runs, trainings.commands))
    runs = tmp_path / 'runs' / 'trial'
    assert f'load_from={runs}/big/seed_0/epoch_2.pth' in words['taught/seed_1']
    assert f'load_from={runs}/taught/seed_1/epoch_2.pth' in words['after/seed_1']
    assert queue.perform(tasks) == [] and len(trainings.commands) == len(ORDER)


ORDER = [('big', 0), *((arm, seed) for seed in (0, 1) for arm in ('plain', 'taught', 'after'))]


def test_two_jobs_wait_for_what_they_need(tmp_path: Path, trainings: Trainings) -> None:
    tasks = experiment_of(tmp_path).tasks((0, 1))
    assert queue.perform(tasks, jobs=2) == []
    runs = trainings.runs
    assert sorted(runs) == sorted(f'{arm}/seed_{seed}' for arm, seed in ORDER)
    for seed in (0, 1):
        assert runs.index('big/seed_0') < runs.index(f'taught/seed_{seed}') < runs.index(f'after/seed_{seed}')


def test_a_failure_stops_only_the_runs_that_need_it(tmp_path: Path, trainings: Trainings) -> None:
    trainings.fails = {'taught/seed_0'}
    tasks = experiment_of(tmp_path).tasks((0, 1))
    failures = queue.perform(tasks)
    assert failures == [
        'trial: taught seed 0: it broke',
        'trial: after seed 0: not run, because a run that it needs failed',
    ]
    assert 'after/seed_0' not in trainings.runs and 'after/seed_1' in trainings.runs


def test_a_failure_of_what_two_runs_need_leaves_the_others(tmp_path: Path, trainings: Trainings) -> None:
    """Of which one needs the other as well."""
    trainings.fails = {'big/seed_0'}
    both = "options={'load_from': '{taught}', 'note': '{big}'}"
    tasks = experiment_of(tmp_path, **{"options={'load_from': '{taught}'}": both}).tasks((0, 1))
    failures = queue.perform(tasks)
    assert len(failures) == 5 and failures[0] == 'trial: big seed 0: it broke'
    assert trainings.runs == ['big/seed_0', 'plain/seed_0', 'plain/seed_1']


def test_no_run_is_taken_after_an_interrupt(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends, interrupted = threading.Event(), threading.Event()

    def execute(*args: Any) -> None:
        interrupted.set()
        ends.wait(60)
        trainings(*args)

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        assert interrupted.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr('kd_plugins.comparison.execution.execute', execute)
    tasks = experiment_of(tmp_path).tasks((0, 1))
    before = set(threading.enumerate())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, 'join', join)
        with pytest.raises(KeyboardInterrupt):
            queue.perform(tasks)
    ends.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert trainings.runs == ['big/seed_0']


def test_first_seeds_of_all_experiments_come_first(tmp_path: Path) -> None:
    queues = [experiment_of(tmp_path, name, ['plain']).tasks((5, 6)) for name in ('one', 'two')]
    names = [(task.protocol.name, task.seed) for task in queue.in_turn(queues)]
    assert names == [('one', 5), ('two', 5), ('one', 6), ('two', 6)]


def test_the_last_checkpoint_is_tested_where_the_protocol_says_so(tmp_path: Path, trainings: Trainings) -> None:
    changes = {'test_last = False': 'test_last = True'}
    (task,) = experiment_of(tmp_path, arms=['plain'], **changes).tasks((1,))
    (failure,) = queue.perform([task])
    assert failure.endswith('left no metrics; see test.log beside it')
    train, test = trainings.commands
    assert train[3] == 'train' and test[3] == 'test' and test[5].endswith('seed_1/epoch_2.pth')
    assert not task.finished() and task.state() == 'unmeasured'
    assert queue.to_run([task]) == [task], 'a run that was killed before its test is tested by the next command'
    path = task.folder / 'test' / '20260102_000000' / '20260102_000000.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({'AP': 0.4}))
    assert task.finished() and read_test(task.folder / 'test') == {'AP': 0.4}
    assert queue.perform([task]) == [] and len(trainings.commands) == 2


def test_an_unexpected_error_does_not_let_the_others_wait(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = experiment_of(tmp_path).tasks((0,))
    usual = queue.train_and_test

    def broken(task: Task, *arguments: Any) -> None:
        if task.training.name == 'taught':
            raise RuntimeError('not expected')
        usual(task, *arguments)

    monkeypatch.setattr(queue, 'train_and_test', broken)
    monkeypatch.setattr(threading, 'excepthook', lambda error: None)
    failures = queue.perform(tasks, jobs=2)
    assert 'trial: taught seed 0: stopped by an unexpected error' in failures
    assert 'trial: after seed 0: not run, because a run that it needs failed' in failures


def test_every_decoder_layer_is_measured_once(tmp_path: Path, trainings: Trainings) -> None:
    changes = {'test_last = False': 'test_last = False\nlayers = True'}
    tasks = experiment_of(tmp_path, arms=['taught'], **changes).tasks((1,))
    (failure,) = queue.perform(tasks)  # these commands write no file
    assert failure.endswith('lacks the metrics of its decoder layers; see layers.log in it')
    command = trainings.commands[-1]
    assert command[3:5] == ['show', 'layer-ap'] and command[6].endswith('taught/seed_1/epoch_2.pth')
    assert len(trainings.commands) == 3 and not tasks[-1].finished()
    Path(command[command.index('--out') + 1]).write_text('{}')
    assert tasks[-1].finished()
