"""``kd_plugins experiments``: what it lists, trains and says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.commands import experiments as tool
from kd_plugins.comparison.overview import BEGIN, END
from tests.comparison.experiment_runs import CONFIG, PROTOCOL, Trainings, trainings

pytest.importorskip('scipy')
__all__ = ['trainings']


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    (tmp_path / 'a.py').write_text(CONFIG)
    path = tmp_path / 'trial' / 'protocol.py'
    path.parent.mkdir()
    path.write_text(PROTOCOL.format(root=tmp_path))
    return path


def test_the_state_of_every_run_is_listed(run: Any, protocol: Path, tmp_path: Path) -> None:
    outcome = run(tool, protocol, '--work-dir', tmp_path / 'runs', '--list')
    assert outcome.status == 0 and outcome.out.count(' new') == 7 and 'trial: after seed 1' in outcome.out


def test_all_runs_and_then_the_further_seed(run: Any, protocol: Path, tmp_path: Path, trainings: Trainings) -> None:
    assert run(tool, protocol, '--work-dir', tmp_path / 'runs').status == 0
    assert len(trainings.runs) == 9 and trainings.runs[-2:] == ['plain/seed_2', 'taught/seed_2']
    again = run(tool, protocol, '--work-dir', tmp_path / 'runs')
    assert again.status == 0 and len(trainings.runs) == 9
    listed = run(tool, protocol, '--work-dir', tmp_path / 'runs', '--list').out
    assert re.search('after seed 2 +not made, because its contrasts are decided', listed)


def test_a_protocol_that_is_named_twice_is_run_once(run: Any, protocol: Path, tmp_path: Path) -> None:
    again = protocol.parent / '..' / protocol.parent.name / protocol.name
    outcome = run(tool, protocol, again, '--work-dir', tmp_path / 'runs', '--list')
    assert outcome.status == 0 and outcome.out.count(' new') == 7


def test_a_failure_is_the_exit_status(run: Any, protocol: Path, tmp_path: Path, trainings: Trainings) -> None:
    trainings.fails = {'plain/seed_1'}
    outcome = run(tool, protocol, '--work-dir', tmp_path / 'runs', '--arms', 'plain')
    assert outcome.status == 2 and outcome.error == 'error: trial: plain seed 1: it broke'


def test_a_baseline_that_fails_hides_no_failure(run: Any, protocol: Path, tmp_path: Path, trainings: Trainings) -> None:
    protocol.write_text(protocol.read_text().replace("(('taught', 'plain'),)", "(('after', 'taught'),)"))
    trainings.fails = {'plain/seed_0', 'plain/seed_1'}
    outcome = run(tool, protocol, '--work-dir', tmp_path / 'runs')
    assert outcome.status == 2 and outcome.err.count('it broke') == 2
    outcome = run(tool, protocol, '--work-dir', tmp_path / 'runs', '--report')
    page = (protocol.parent / 'page.md').read_text()
    assert outcome.status == 0 and '- after is better than taught by' in page
    assert 'plain, the baseline, has no finished seed in common with another arm yet' in page
    assert 'plain seed 0: not started' in page


def test_an_experiment_that_was_stopped_is_left_out(run: Any, protocol: Path, tmp_path: Path) -> None:
    protocol.write_text(protocol.read_text() + "stopped = 'Both contrasts are below 0.'\n")
    outcome = run(tool, protocol, '--work-dir', tmp_path / 'runs')
    assert outcome.status == 0 and 'trial: stopped: Both contrasts are below 0.' in outcome.out


def test_the_record_stands_for_lost_folders(run: Any, protocol: Path, tmp_path: Path, trainings: Trainings) -> None:
    words = protocol, '--work-dir', tmp_path / 'runs'
    assert run(tool, *words).status == run(tool, *words, '--report').status == 0
    count = len(trainings.runs)
    shutil.rmtree(tmp_path / 'runs')
    outcome = run(tool, *words, '--list')
    assert outcome.out.count('finished, from the committed record') == 8 and outcome.out.count('not needed') == 1
    assert run(tool, *words).status == 0 and len(trainings.runs) == count
    outcome = run(tool, *words, '--report')
    assert outcome.status == 0 and 'from the committed record in' in outcome.out
    assert 'Their folders are gone' in (protocol.parent / 'page.md').read_text()


def test_an_arm_that_is_trained_again_for_another_one_is_listed_so(
    run: Any, protocol: Path, tmp_path: Path, trainings: Trainings
) -> None:
    words = protocol, '--work-dir', tmp_path / 'runs'
    assert run(tool, *words).status == run(tool, *words, '--report').status == 0
    path = protocol.parent / 'results.json'
    values = json.loads(path.read_text())
    del values['records']['after']['1']
    path.write_text(json.dumps(values))
    shutil.rmtree(tmp_path / 'runs')
    listed = ' '.join(run(tool, *words, '--list').out.split())
    again = 'on record, trained again because another run needs its checkpoint'
    assert re.findall(r'trial: (\w+ seed \d)\W+' + again, listed) == ['taught seed 1']


def test_results_of_before_are_adopted(run: Any, protocol: Path, tmp_path: Path, trainings: Trainings) -> None:
    words = protocol, '--work-dir', tmp_path / 'runs'
    assert run(tool, *words).status == run(tool, *words, '--report').status == 0
    path = protocol.parent / 'results.json'
    values = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in values.items() if key != 'records'}))
    shutil.rmtree(tmp_path / 'runs')
    assert '--adopt takes them as runs of the present settings' in run(tool, *words, '--list').out
    assert 'trial: recorded as runs of the present settings: plain seeds 0 to 2' in run(tool, *words, '--adopt').out
    assert run(tool, *words, '--list').out.count('finished, from the committed record') == 8


def test_the_overview_is_written_into_its_page(run: Any, tmp_path: Path) -> None:
    (tmp_path / 'overview.py').write_text("detectors = {'one': dict(docs='one.md')}")
    page = tmp_path / 'index.md'
    page.write_text(f'{BEGIN}\n{END}\n')
    assert run(tool, '--overview', page, '--results', tmp_path).status == 0
    assert '| [one](../one.md) |' in page.read_text()
    assert 'give protocols' in run(tool).err
