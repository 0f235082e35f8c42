"""Experiment: its runs, its further seeds, and the comparison of its arms."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.comparison.experiment import Experiment
from kd_plugins.comparison.queue import perform
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
