"""The comparison from logs to files, and what it says of a training that failed."""

import gzip
import json

import pytest

from kd_plugins.commands import compare as tool
from kd_plugins.comparison import execution
from kd_plugins.errors import KDPluginsError

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


def test_a_new_seed_is_trained_and_a_failure_does_not_lose_the_others(arms, run, tmp_path, monkeypatch):
    started = []

    def execute(command, log, jobs):
        started.append(command[-1])
        raise KDPluginsError('it broke')

    monkeypatch.setattr(execution, 'execute', execute)
    status, out, err = run(tool, *arms, '--seeds', '0', '1', '7', '--work-dir', tmp_path / 'runs')
    assert status == 2 and started == ['randomness.seed=7'] * 2
    assert 'taught seed 7: it broke' in err
    assert 'over 2 seeds' in out
