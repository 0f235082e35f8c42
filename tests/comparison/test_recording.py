"""Runs whose folders are lost: the committed record stands for them, where their settings are the present ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.comparison.experiment import Experiment
from kd_plugins.comparison.experiment_report import write_experiment
from kd_plugins.comparison.fingerprints import weights_hash
from kd_plugins.comparison.plan import FINGERPRINT
from kd_plugins.comparison.protocol import read_protocol
from kd_plugins.comparison.queue import perform, to_run
from kd_plugins.comparison.recording import adopt, record_lines
from kd_plugins.errors import ConfigError
from tests.comparison.experiment_runs import CONFIG, Trainings, experiment_of, trainings

pytest.importorskip('scipy')
pytest.importorskip('matplotlib')
__all__ = ['trainings']


class Lost:
    """An experiment that was run and reported; its folders can be lost."""

    def __init__(self, folder: Path, trainings: Trainings) -> None:
        self.folder, self.trainings = folder, trainings
        self.runs = folder / 'runs' / 'trial'
        experiment = experiment_of(folder, **{'more_seeds = (2,)': ''})
        trainings.weight = 1.0
        perform(experiment.tasks((0, 1)))
        self.page = write_experiment(experiment)
        self.values = self.read()
        trainings.commands.clear()

    def read(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / 'trial' / 'results.json').read_text()))

    def again(self) -> Experiment:
        return Experiment(read_protocol(self.folder / 'trial' / 'protocol.py'), self.folder / 'runs')

    def change(self, old: str, new: str) -> None:
        path = self.folder / 'trial' / 'protocol.py'
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def lost(tmp_path: Path, trainings: Trainings) -> Lost:
    return Lost(tmp_path, trainings)


def names(experiment: Experiment, seeds: tuple[int, ...] = (0, 1)) -> list[str]:
    return [f'{task.arm.name} {task.seed}' for task in to_run(experiment.tasks(seeds))]


def lines(experiment: Experiment, seeds: tuple[int, ...] = (0, 1)) -> list[str]:
    return list(record_lines(experiment, experiment.tasks(seeds)))


def test_nothing_is_trained_again_when_all_folders_are_lost(lost: Lost) -> None:
    shutil.rmtree(lost.runs)
    experiment = lost.again()
    assert names(experiment) == [] and perform(experiment.tasks((0, 1))) == [] and not lost.trainings.commands
    assert experiment.seeds() == (0, 1)
    (line,) = lines(experiment)
    assert line.endswith('because their folders are gone: plain seeds 0, 1; taught seeds 0, 1; after seeds 0, 1')
    page = write_experiment(experiment)
    (sentence,) = [line for line in page.splitlines() if line not in lost.page.splitlines()]
    assert 'come from the committed record' in sentence and 'plain seeds 0, 1; taught seeds 0, 1' in sentence
    values = lost.read()
    assert {**values, 'recorded': {}} == {**lost.values, 'recorded': {}} and lost.values['recorded'] == {}
    assert values['about']['taught']['step'] == 1.5 and values['about']['taught']['seconds'] == 7.5
    assert write_experiment(lost.again()) == page, 'a record stays as it is'


def test_a_changed_config_is_run_again(lost: Lost) -> None:
    shutil.rmtree(lost.runs)
    lost.change("taught=dict(config='", "taught=dict(note='wider', config='")
    assert names(lost.again()) == [], 'a note is no setting'
    lost.change("plain=dict(config='", "plain=dict(options={'wide': 'True'}, config='")
    assert names(lost.again()) == ['plain 0', 'plain 1']
    assert "plain seed 0 has to be run, because its record in '" in lines(lost.again())[1]
    # A teacher's settings are those of all that learned from it, directly or not.
    lost.change("big=dict(config='", "big=dict(options={'wide': 'True'}, config='")
    assert len(names(lost.again())) == 7


def test_a_record_that_does_not_count_is_explained(lost: Lost) -> None:
    shutil.rmtree(lost.runs)
    (lost.folder / 'trial' / 'logs' / 'plain_seed_1.jsonl.gz').unlink()
    lost.change('after=dict', 'later=dict')
    told = '\n'.join(lines(lost.again()))
    assert (
        f"plain seed 1 has to be run, because its record in '{lost.folder / 'trial'}' lacks its log in 'logs'" in told
    )
    assert 'that the protocol does not have: after seeds 0, 1; the next report leaves them out' in told


def test_a_lost_teacher_is_trained_again_only_for_runs_that_are_missing(lost: Lost) -> None:
    shutil.rmtree(lost.runs / 'big')
    assert names(lost.again()) == []
    shutil.rmtree(lost.runs / 'plain')
    assert names(lost.again(), (0, 1, 2)) == ['big 0', 'plain 2', 'taught 2', 'after 2']
    lost.trainings.weight = 2.0
    experiment = lost.again()
    assert lines(experiment, (0, 1, 2))[-1] == (
        'big has to be trained again for taught seed 2, because its folder is gone; its weights can differ from those '
        'that taught taught seeds 0, 1'
    )
    assert perform(experiment.tasks((0, 1, 2))) == []
    assert lost.trainings.runs == ['big/seed_0', 'plain/seed_2', 'taught/seed_2', 'after/seed_2']
    lost.change('seeds = (0, 1)', 'seeds = (0, 1, 2)')
    page = write_experiment(lost.again())
    old, new = (lost.values['records']['taught'][seed]['teachers']['big'] for seed in '01')
    assert old == new and lost.read()['records']['taught']['0']['teachers']['big'] == old
    new = weights_hash(lost.runs / 'big' / 'seed_0' / 'epoch_2.pth')
    assert (
        'The weights of big differ between runs, because it was trained again: '
        f'`{old[:8]}` taught taught seeds 0, 1, `{new[:8]}` taught taught seed 2.'
    ) in page
    assert 'come from the committed record, as runs of equal settings: plain seeds 0, 1.' in page


def test_an_arm_whose_checkpoint_a_missing_run_needs_is_trained_again(lost: Lost) -> None:
    shutil.rmtree(lost.runs)
    lost.change("after=dict(config='", "after=dict(note='', config='")
    values = lost.read()
    del values['records']['after']['1']
    (lost.folder / 'trial' / 'results.json').write_text(json.dumps(values))
    assert names(lost.again()) == ['big 0', 'taught 1', 'after 1']
    assert lines(lost.again())[-2:] == [
        'big has to be trained again for taught seed 1, because its folder is gone; its weights can differ from those '
        'that taught taught seeds 0, 1',
        'taught seed 1 has to be trained again for after seed 1, because its folder is gone; its new numbers take the '
        'place of those on record',
    ]


def test_the_page_tells_of_an_arm_that_was_trained_again_and_teaches(lost: Lost) -> None:
    late = f"late=dict(config='{lost.folder}/a.py', options={{'load_from': '{{taught}}'}}),\n)\nteachers"
    lost.change(')\nteachers', late)
    perform(lost.again().tasks((0, 1)))
    write_experiment(lost.again())
    values = lost.read()
    assert values['records']['late']['1']['teachers'] == values['records']['after']['1']['teachers']
    del values['records']['late']['1']
    del values['records']['after']['0']['teachers']['taught']  # as in a record of before
    (lost.folder / 'trial' / 'results.json').write_text(json.dumps(values))
    shutil.rmtree(lost.runs)
    assert names(lost.again()) == ['big 0', 'taught 1', 'late 1']
    assert lines(lost.again())[-1] == (
        'taught seed 1 has to be trained again for late seed 1, because its folder is gone; its weights can differ '
        'from those that taught after seed 1, and its new numbers take the place of those on record'
    )
    lost.trainings.weight = 2.0
    assert perform(lost.again().tasks((0, 1))) == []
    page = write_experiment(lost.again())
    old = values['records']['after']['1']['teachers']['taught']
    new = weights_hash(lost.runs / 'taught' / 'seed_1' / 'epoch_2.pth')
    assert (
        'The weights of taught seed 1 differ between runs, because it was trained again: '
        f'`{old[:8]}` taught after seed 1, `{new[:8]}` taught late seed 1.'
    ) in page
    assert (
        'The weights of taught seed 0 can differ between runs, because not all of them are known: '
        f'unknown weights taught after seed 0, `{old[:8]}` taught late seed 0.'
    ) in page


def test_a_run_is_not_resumed_with_other_weights_of_its_teacher(lost: Lost) -> None:
    log = next((lost.runs / 'taught' / 'seed_0').glob('*/vis_data/scalars.json'))
    log.write_text('')
    record = lost.runs / 'taught' / 'seed_0' / FINGERPRINT
    record.write_text(record.read_text().replace('"ended": true', '"ended": false'))
    (lost.folder / 'trial' / 'results.json').unlink()
    torch.save({'state_dict': {'weight': torch.tensor(5.0)}}, lost.runs / 'big' / 'seed_0' / 'epoch_2.pth')
    failures = perform(lost.again().tasks((0,)))
    assert 'was begun with other weights of big' in failures[0] and not lost.trainings.commands


def test_a_run_is_not_resumed_with_other_weights_of_the_arm_that_teaches_it(lost: Lost) -> None:
    folder, begun = lost.runs / 'after' / 'seed_0', weights_hash(lost.runs / 'taught' / 'seed_0' / 'epoch_2.pth')
    next(folder.glob('*/vis_data/scalars.json')).write_text('')
    record = folder / FINGERPRINT
    record.write_text(record.read_text().replace('"ended": true', '"ended": false'))
    (lost.folder / 'trial' / 'results.json').unlink()
    torch.save({'state_dict': {'weight': torch.tensor(5.0)}}, lost.runs / 'taught' / 'seed_0' / 'epoch_2.pth')
    (failure,) = perform(lost.again().tasks((0,)))
    assert 'was begun with other weights of taught' in failure and not lost.trainings.commands
    assert lost.values['records']['after']['0']['teachers'] == {'taught': begun}


@pytest.mark.parametrize(
    ('setting', 'objection'),
    [
        ('test_last = True', 'lacks the test of the last checkpoint'),
        ('test_last = True\ncalibration = True', 'lacks the test'),
        ('test_last = False\nlayers = True', 'lacks the decoder layers'),
    ],
)
def test_a_record_without_what_the_protocol_measures_does_not_count(lost: Lost, setting: str, objection: str) -> None:
    shutil.rmtree(lost.runs)
    lost.change('test_last = False', setting)
    assert len(names(lost.again())) == 7 and objection in lines(lost.again())[0]


def test_measurements_of_a_record_reach_the_report_again(lost: Lost) -> None:
    values = lost.read()
    for runs in values['records'].values():
        for one in runs.values():
            one['tested'] = {'AP': 0.5, 'calibration/error': 0.1}
            one['layers'] = {name: [0.1, 0.2] for name in ('AP', 'AP75', 'AP75-90')}
            one['bins'] = [[10.0, 5.0, 4.0]] * 10
    (lost.folder / 'trial' / 'results.json').write_text(json.dumps(values))
    shutil.rmtree(lost.runs)
    lost.change('test_last = False', 'test_last = True\ncalibration = True\nlayers = True')
    page = write_experiment(lost.again())
    assert '| taught | 10.00 ± 0.00 | 20.00 ± 0.00 | 2 |' in page and 'reliability.png' in page
    again = lost.read()
    assert again['arms']['plain']['AP']['last']['values'] == [0.5, 0.5] and again['records'] == values['records']


def test_results_of_before_are_adopted_on_demand(lost: Lost) -> None:
    values = {key: value for key, value in lost.values.items() if key not in ('records', 'recorded')}
    path = lost.folder / 'trial' / 'results.json'
    path.write_text(json.dumps(values))
    assert names(lost.again()) == [] and lines(lost.again()) == []
    shutil.rmtree(lost.runs)
    experiment = lost.again()
    assert len(names(experiment)) == 7
    assert 'is older than records, so it cannot stand for plain seeds 0, 1; taught' in lines(experiment)[0]
    assert 'plain seeds 0, 1; taught seeds 0, 1; after seeds 0, 1' in adopt(experiment)
    assert names(lost.again()) == []
    page = write_experiment(lost.again())
    assert 'These were recorded before the settings of each run were' in page
    assert lost.read()['arms'] == lost.values['arms']
    assert lost.read()['about'] == lost.values['about']
    with pytest.raises(ConfigError, match='has records already'):
        adopt(lost.again())
    # One seed more, and a teacher that was trained again: nobody knows whether its weights are the same.
    perform(lost.again().tasks((0, 1, 2)))
    lost.change('seeds = (0, 1)', 'seeds = (0, 1, 2)')
    assert 'unknown weights taught taught seeds 0, 1, `' in write_experiment(lost.again())


def test_a_run_of_before_gets_the_hash_of_a_teacher_that_is_older(lost: Lost) -> None:
    record = lost.runs / 'taught' / 'seed_0' / FINGERPRINT
    record.write_text(
        json.dumps({key: one for key, one in json.loads(record.read_text()).items() if key != 'teachers'})
    )
    write_experiment(lost.again())
    assert lost.read()['records'] == lost.values['records']
    (lost.runs / 'big' / 'seed_0' / 'epoch_2.pth').touch()
    write_experiment(lost.again())
    assert lost.read()['records']['taught']['0']['teachers'] == {'big': None}


def test_a_folder_of_other_settings_is_refused_as_before(lost: Lost) -> None:
    (lost.folder / 'a.py').write_text(CONFIG + 'other = 1\n')
    with pytest.raises(ConfigError, match='with other settings'):
        lost.again().tasks((0,))
