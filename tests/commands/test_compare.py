"""The comparison from logs to files, and what it says of a training that failed."""

import gzip
import json
from pathlib import Path

import pytest

from kd_plugins.commands import compare as tool
from kd_plugins.comparison import execution
from kd_plugins.errors import KDPluginsError
from tests.hooks.tiny_runs import GAP

pytest.importorskip('scipy')
pytest.importorskip('matplotlib')
CONFIG = "default_scope = 'mmengine'\ntrain_cfg = dict(max_epochs=2)\nval_cfg = dict(type='ValLoop')\nlevel = {level}\n"


@pytest.fixture
def arms(tmp_path):
    paths = []
    for level, name in enumerate(('plain', 'taught')):
        path = tmp_path / f'{name}.py'
        path.write_text(CONFIG.format(level=level))
        paths.append(str(path))
        for seed in (0, 1, 2):
            log = tmp_path / 'runs' / name / f'seed_{seed}' / '20260101_000000' / 'vis_data' / 'scalars.json'
            log.parent.mkdir(parents=True)
            rows = [{'lr': 0.1, 'loss': 2.0, 'iter': 10, 'step': 10}]
            rows += [{'coco/bbox_mAP': 0.1 * epoch + 0.05 * level + 0.01 * seed, 'step': epoch} for epoch in (1, 2)]
            log.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return paths


def test_finished_runs_are_not_trained_again_and_the_report_is_whole(arms, run, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, 'execute', lambda *args: pytest.fail('a finished run was trained'))
    status, out, _ = run(tool, *arms, '--work-dir', tmp_path / 'runs', '--out', tmp_path / 'out')
    assert status == 0 and 'finished before' in out and '+0.0500' in out
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'curves.png', 'logs', 'results.json', 'table.md'}
    result = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert result['arms']['taught']['coco/bbox_mAP']['difference']['count'] == 3
    packed = (tmp_path / 'out' / 'logs' / 'plain_seed_0.jsonl.gz').read_bytes()
    lines = gzip.decompress(packed).decode().splitlines()
    assert [json.loads(line) for line in lines][0] == {'train': 10, 'loss': 2.0}


def test_a_report_of_runs_with_other_settings_is_refused(arms, run, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, 'execute', lambda *args: pytest.fail('a finished run was trained'))
    assert run(tool, *arms, '--work-dir', tmp_path / 'runs').status == 0
    report = [*arms, '--work-dir', tmp_path / 'runs', '--report-only']
    assert run(tool, *report).status == 0
    assert 'with other settings' in run(tool, *report, '--cfg-options', 'level=3').error


def test_a_wrong_number_of_classes_stops_the_comparison_before_the_first_training(arms, run, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, 'execute', lambda *args: pytest.fail('the baseline was trained'))
    path = tmp_path / 'wrong.py'
    data = "train_dataloader = dict(dataset=dict(type='CocoDataset', data_root='', metainfo=dict(classes=['a', 'b'])))"
    model = "default_scope = 'mmdet'\nmodel = dict(type='GFL', bbox_head=dict(type='GFLHead', num_classes=3))\n"
    pytest.importorskip('mmdet')
    path.write_text(CONFIG.format(level=0) + model + data)
    outcome = run(tool, arms[0], path, '--work-dir', tmp_path / 'other')
    assert outcome.status == 2 and 'model.bbox_head.num_classes is 3' in outcome.error


@pytest.mark.parametrize(
    ('option', 'sentence'),
    [
        ('model.wdth=3', r"unexpected keyword argument 'wdth'"),
        ('optim_wrapper.optimizer.lr=fast', "optim_wrapper.optimizer.lr is 'fast'; give a number"),
        (
            'default_hooks.distill.distillers.gap.tapp=first',
            "distillers.gap: TinyGap got an unexpected keyword argument 'tapp'",
        ),
    ],
)
def test_a_part_that_cannot_be_built_stops_the_comparison_before_the_first_training(
    run, tmp_path, monkeypatch, option, sentence
):
    monkeypatch.setattr(execution, 'execute', lambda *args: pytest.fail('the baseline was trained'))
    model = "model = dict(type='kd_plugins.TinyStudent')\ntrain_dataloader = dict(batch_size=2)\n"
    optimizer = "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))\n"
    gap = dict(GAP, source='student')
    entry = f"type='kd_plugins.DistillHook', priority='LOW', distillers=dict(gap={gap})"
    hook = f'default_hooks = dict(distill=dict({entry}))\n'
    for name in ('plain', 'taught'):
        (tmp_path / f'{name}.py').write_text(CONFIG.format(level=0) + model + optimizer + hook)
    paths = [str(tmp_path / f'{name}.py') for name in ('plain', 'taught')]
    outcome = run(tool, *paths, '--work-dir', tmp_path / 'runs', '--cfg-options', option)
    assert outcome.status == 2 and sentence in outcome.error
    assert outcome.error.startswith(f"error: '{paths[0]}' cannot be trained: ")


def test_a_config_that_cannot_be_tested_stops_the_comparison_before_the_first_training(
    arms, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(execution, 'execute', lambda *args: pytest.fail('the baseline was trained'))
    outcome = run(tool, *arms, '--work-dir', tmp_path / 'other', '--test-last')
    assert outcome.status == 2 and "has no 'model', so it cannot be tested" in outcome.error
    tested = "model = dict(type='X')\ntest_dataloader = test_cfg = test_evaluator = dict()\n"
    for path in arms:
        with open(path, 'a') as file:
            file.write(tested)
    outcome = run(tool, *arms, '--work-dir', tmp_path / 'other', '--calibration')
    assert outcome.status == 2 and outcome.error.startswith("error: --calibration: default_scope is 'mmengine'")


@pytest.mark.parametrize(('option', 'value'), [('--seeds', '-1'), ('--more-seeds', '-3'), ('--jobs', '0')])
def test_numbers_out_of_their_range_are_refused(arms, run, tmp_path, option, value):
    outcome = run(tool, *arms, '--work-dir', tmp_path / 'runs', option, value)
    assert outcome.status == 2 and f"argument {option}: '{value}' is no whole number" in outcome.err


def test_a_new_seed_is_trained_and_a_failure_does_not_lose_the_others(arms, run, tmp_path, monkeypatch):
    started = []

    def execute(command, log, jobs, held):
        started.append(command[-1])
        raise KDPluginsError('it broke')

    monkeypatch.setattr(execution, 'execute', execute)
    # Seeds 0 and 1 differ by the same amount, so their interval excludes 0 and no seed is added.
    status, out, err = run(tool, *arms, '--seeds', '0', '1', '7', '--work-dir', tmp_path / 'runs')
    assert status == 2 and started == ['randomness.seed=7'] * 2
    assert 'taught seed 7: it broke' in err
    assert 'over 2 seeds' in out


LOGS = Path(__file__).resolve().parents[1] / 'comparison' / 'logs'
PAGE = [
    *('configs/plain.py', 'configs/taught.py', 'configs/quality.py', 'configs/slow.py', '--work-dir', '.'),
    *('--metric', 'coco/bbox_mAP', 'coco/bbox_mAP_75', 'NME', '--points', '--against', 'quality', '--mixed-weights'),
    '--report-only',
]


@pytest.fixture
def committed(monkeypatch):
    """The folder of small logs that are kept with the tests as working folder."""
    monkeypatch.chdir(LOGS)
    monkeypatch.setattr(execution, 'execute', lambda *args: pytest.fail('a report trained'))


def test_the_page_is_written_whole_from_the_logs(committed, run, tmp_path):
    """To accept a wanted change: run the command in the folder of the logs with ``--page page.md``."""
    for name in ('first.md', 'second.md'):
        outcome = run(tool, *PAGE, '--out', tmp_path / 'out', '--page', tmp_path / name)
        assert outcome.status == 0, outcome.err
    page = (tmp_path / 'first.md').read_bytes()
    assert page == (tmp_path / 'second.md').read_bytes()
    assert page.decode() == (LOGS / 'page.md').read_text(encoding='utf-8')


def test_seeds_were_added_to_the_undecided_pair_alone(committed, run, tmp_path):
    assert run(tool, *PAGE, '--out', tmp_path).status == 0
    values = json.loads((tmp_path / 'results.json').read_text())
    assert values['seeds_of'] == {
        'plain': [0, 1, 2, 3, 4],
        'taught': [0, 1, 2, 3, 4],
        'quality': [0, 1, 2],
        'slow': [0, 1],
    }
    assert values['added_seeds'] == [3, 4] and values['points'] == [
        'coco/bbox_mAP',
        'coco/bbox_mAP_75',
        'coco/cell_precision',
    ]
    assert values['runs']['taught']['1'] == 'finished after 2 starts' and values['runs']['slow']['2'] == 'not started'
    assert values['against']['quality']['taught']['coco/bbox_mAP']['seeds'] == [0, 1, 2]
    # Without further seeds those of the folder do not count.
    assert run(tool, *PAGE, '--out', tmp_path, '--more-seeds').status == 0
    assert json.loads((tmp_path / 'results.json').read_text())['seeds_of']['taught'] == [0, 1, 2]


def test_averaged_weights_in_one_arm_are_refused(committed, run, tmp_path):
    arguments = [argument for argument in PAGE if argument != '--mixed-weights']
    assert "'slow' evaluates averaged weights" in run(tool, *arguments, '--out', tmp_path).error


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--metric', 'coco/bbox_mAP', 'NMEs'], "--metric: 'NMEs' is not in the logs of every run; nearest: 'NME'"),
        (['--against', 'qualitty'], "--against is 'qualitty'; nearest: 'quality'"),
        (['--equal', 'compute'], "taught.json' holds no step time of these settings"),
        (['--control', 'quality-loss'], '--control quality-loss does not fit'),
        (['--more-seeds', '1'], '--seeds 0 1 2 1 repeats a seed'),
        (['--pilot', 'nowhere'], "--pilot: 'nowhere' cannot be read as results.json"),
    ],
)
def test_a_mistake_is_one_sentence(committed, run, tmp_path, arguments, sentence):
    assert sentence in run(tool, *PAGE, '--out', tmp_path, *arguments).error


def test_a_teacher_is_counted_with_equal_compute_alone(committed, run):
    outcome = run(tool, *PAGE, '--count-teacher', 'configs/plain.py')
    assert outcome.status == 2 and '--count-teacher counts only with --equal compute' in outcome.err


def test_further_seeds_are_trained_after_the_first(arms, run, tmp_path, monkeypatch):
    """The first three seeds leave a gain undecided, so both arms go on with seeds 3 and 4, once."""
    values = {'plain': {0: 0.5, 1: 0.51, 2: 0.52}, 'taught': {0: 0.5, 1: 0.52, 2: 0.55}}
    started = []

    def execute(command, log, jobs, held):
        started.append((log.parent.parent.name, command[-1]))
        scalars = log.parent / '20260101_000000' / 'vis_data' / 'scalars.json'
        scalars.parent.mkdir(parents=True)
        scalars.write_text(json.dumps({'coco/bbox_mAP': 0.5, 'step': 2}) + '\n')

    for arm, seeds in values.items():
        for seed, value in seeds.items():
            (path,) = (tmp_path / 'runs' / arm / f'seed_{seed}').glob('*/vis_data/scalars.json')
            path.write_text(json.dumps({'coco/bbox_mAP': value, 'step': 2}) + '\n')
    monkeypatch.setattr(execution, 'execute', execute)
    status, out, _ = run(tool, *arms, '--work-dir', tmp_path / 'runs', '--page', tmp_path / 'page.md')
    assert status == 0 and 'more seeds (3, 4) for plain, taught' in out
    assert started == [(arm, f'randomness.seed={seed}') for seed in (3, 4) for arm in ('plain', 'taught')]
    assert '5 (3, 4 added)' in (tmp_path / 'page.md').read_text()
    assert run(tool, *arms, '--work-dir', tmp_path / 'runs').status == 0 and len(started) == 4


def test_the_power_of_a_pilot_is_told_before_training(arms, run, tmp_path, monkeypatch):
    assert run(tool, *arms, '--work-dir', tmp_path / 'runs', '--out', tmp_path / 'pilot').status == 0
    outcome = run(tool, *arms, '--work-dir', tmp_path / 'runs', '--pilot', tmp_path / 'pilot')
    assert outcome.status == 0 and 'with 3 seeds this comparison sees a difference of 0.0000' in outcome.err
