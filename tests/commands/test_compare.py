"""The comparison from logs to files, and what it says of a training that failed."""

import json
import sys
from importlib import import_module

import pytest

from kd_plugins.errors import KDPluginsError

pytest.importorskip('scipy')
pytest.importorskip('matplotlib')
tool = import_module('kd_plugins.commands.compare')
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


def run(monkeypatch, *arguments):
    monkeypatch.delenv('KD_DEBUG', raising=False)
    monkeypatch.setattr(sys, 'argv', ['compare', *arguments])
    return tool.main()


def test_finished_runs_are_not_trained_again_and_the_report_is_whole(arms, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, 'execute', lambda *args: pytest.fail('a finished run was trained'))
    assert run(monkeypatch, *arms, '--work-dir', str(tmp_path / 'runs'), '--out', str(tmp_path / 'out')) == 0
    out = capsys.readouterr().out
    assert 'finished before' in out and '+0.0500' in out
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'curves.png', 'logs', 'results.json', 'table.md'}
    result = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert result['arms']['taught']['coco/bbox_mAP']['difference']['count'] == 3
    lines = (tmp_path / 'out' / 'logs' / 'plain_seed_0.jsonl').read_text().splitlines()
    assert [json.loads(line) for line in lines][0] == {'train': 10, 'loss': 2.0}


def test_a_new_seed_is_trained_and_a_failure_does_not_lose_the_others(arms, tmp_path, monkeypatch, capsys):
    started = []

    def execute(command, log, jobs):
        started.append(command[-1])
        raise KDPluginsError('it broke')

    monkeypatch.setattr(tool, 'execute', execute)
    assert run(monkeypatch, *arms, '--seeds', '0', '1', '7', '--work-dir', str(tmp_path / 'runs')) == 2
    assert started == ['randomness.seed=7'] * 2
    found = capsys.readouterr()
    assert 'taught seed 7: it broke' in found.err
    assert 'over 2 seeds' in found.out


def test_a_command_that_fails_is_quoted_by_its_sentence(tmp_path):
    program = "import sys; print('error: a.b is wrong', file=sys.stderr); print('noise'); sys.exit(2)"
    with pytest.raises(KDPluginsError, match=r'status 2: error: a\.b is wrong'):
        tool.execute([sys.executable, '-c', program], tmp_path / 'x.log', 1)


def test_two_jobs_get_one_thread_each(tmp_path):
    program = "import os; print(os.environ['OMP_NUM_THREADS'])"
    tool.execute([sys.executable, '-c', program], tmp_path / 'x.log', 2)
    assert (tmp_path / 'x.log').read_text() == '1\n'


def test_numbers_that_json_does_not_know_become_null():
    assert tool.without_nan({'a': [float('nan'), 1.0]}) == {'a': [None, 1.0]}
