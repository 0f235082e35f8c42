"""Experiment: its runs, its further seeds, and the comparison of its arms."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kd_plugins.comparison.experiment import Experiment
from kd_plugins.comparison.queue import perform, to_run
from kd_plugins.comparison.results import collect
from kd_plugins.errors import ConfigError
from tests.comparison.experiment_runs import CONFIG, GAIN, Trainings, experiment_of, trainings

pytest.importorskip('scipy')
__all__ = ['trainings']


def test_further_seeds_where_the_first_leave_it_open(tmp_path: Path, trainings: Trainings) -> None:
    experiment = experiment_of(tmp_path)
    assert experiment.seeds() == (0, 1)
    perform(experiment.tasks((0, 1)))
    assert experiment.seeds() == (0, 1, 2)
    assert Experiment(experiment.protocol, tmp_path / 'runs', ['plain']).seeds() == (0, 1)


def test_further_seeds_are_those_of_the_undecided_arms(tmp_path: Path, trainings: Trainings) -> None:
    experiment = experiment_of(tmp_path)
    perform(experiment.tasks(experiment.due()))
    assert runs_of(experiment) == ['plain/2', 'taught/2']
    after = next(task for task in experiment.tasks((0, 1, 2)) if task.name == 'trial: after seed 2')
    assert (after.state(), after.left_out) == ('left out', 'because its contrasts are decided')
    perform(experiment.tasks(experiment.due()))
    assert runs_of(experiment) == []
    # A further seed that is there all the same counts.
    perform([replace(task, left_out='') for task in experiment.tasks((2,))])
    _, logs, _ = collect(experiment.settings, False, {}, [])
    assert [sorted(logs[arm]) for arm in ('plain', 'taught', 'after')] == [[0, 1, 2]] * 3
    shutil.rmtree(experiment.root / 'after' / 'seed_2')
    _, logs, about = collect(experiment.settings, False, {}, [])
    assert sorted(logs['after']) == sorted(map(int, about['runs']['after'])) == [0, 1]


def test_a_decided_contrast_gets_no_further_seeds(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GAIN, 'taught', -0.5)
    experiment = experiment_of(tmp_path)
    perform(experiment.tasks((0, 1)))
    assert experiment.seeds() == (0, 1)


def test_a_changed_config_is_refused(tmp_path: Path, trainings: Trainings) -> None:
    experiment = experiment_of(tmp_path)
    perform(experiment.tasks((0,)))
    (tmp_path / 'a.py').write_text(CONFIG + 'other = 1\n')
    with pytest.raises(ConfigError, match='with other settings'):
        Experiment(experiment.protocol, tmp_path / 'runs').tasks((0,))


def test_the_other_side_of_a_contrast_is_a_reference(tmp_path: Path) -> None:
    changes = {"(('taught', 'plain'),)": "(('after', 'taught'), ('taught', 'plain'))"}
    assert experiment_of(tmp_path, **changes).settings.against == ['taught']


STOP = {"refuted_if = 'It does not.'": "refuted_if = 'It does not.'\nstop_after = 1"}


def runs_of(experiment: Experiment) -> list[str]:
    return [f'{task.arm.name}/{task.seed}' for task in to_run(experiment.tasks(experiment.due()))]


def test_the_stop_rule_ends_an_arm_that_is_behind(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GAIN, 'after', -0.1)
    experiment = experiment_of(tmp_path, **STOP)
    # Nothing of the second seed is due before every arm can be judged.
    assert runs_of(experiment) == ['big/0', 'plain/0', 'taught/0', 'after/0']
    perform(experiment.tasks(experiment.due()))
    assert experiment.ended() == ['after']
    assert runs_of(experiment) == ['plain/1', 'taught/1']
    states = {task.name: task.state() for task in experiment.tasks((0, 1))}
    assert states['trial: after seed 1'] == 'left out'
    perform(experiment.tasks(experiment.due()))
    assert runs_of(experiment) == ['plain/2', 'taught/2']  # the contrast is undecided
    perform(experiment.tasks(experiment.due()))
    assert runs_of(experiment) == []


def test_the_stop_rule_judges_arms_that_run_without_the_baseline(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GAIN, 'after', -0.1)
    experiment = experiment_of(tmp_path, **STOP)
    perform(experiment.tasks((0,)))
    alone = Experiment(experiment.protocol, tmp_path / 'runs', ['after'])
    assert alone.ended() == ['after'] and runs_of(alone) == ['taught/1']
    assert 'plain' not in {task.arm.name for task in alone.tasks(alone.due())}


def test_an_ended_arm_does_not_keep_a_contrast_waiting(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GAIN, 'after', -0.1)
    both = {"(('taught', 'plain'),)": "(('taught', 'plain'), ('after', 'plain'))"}
    experiment = experiment_of(tmp_path, **STOP, **both)
    perform(experiment.tasks((0,)))
    perform(experiment.tasks((0, 1)))
    chosen = Experiment(experiment.protocol, tmp_path / 'runs', ['plain', 'taught'])
    assert chosen.seeds() == (0, 1, 2)


@pytest.mark.parametrize('contrast', ["(('after', 'taught'),)", "(('after', 'plain'),)"])
def test_an_arm_that_others_are_compared_with_or_start_from_goes_on(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch, contrast: str
) -> None:
    monkeypatch.setitem(GAIN, 'taught', -0.1)
    experiment = experiment_of(tmp_path, **STOP, **{"(('taught', 'plain'),)": contrast})
    perform(experiment.tasks((0,)))
    assert experiment.ended() == []
