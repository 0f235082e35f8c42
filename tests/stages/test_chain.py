"""How a chain starts its trainings; tests/commands/test_train_stages.py runs whole chains."""

import sys

from kd_plugins.stages.chain import start_words


def test_how_trainings_are_started(monkeypatch):
    monkeypatch.setenv('SRUN_ARGS', '--gres=gpu:2 -n 2')
    words = start_words('slurm', 1)
    assert words[:5] == ['srun', '--kill-on-bad-exit=1', '--gres=gpu:2', '-n', '2']
    assert words[5:] == [sys.executable, '-u', '-m', 'kd_plugins', 'train']
    assert start_words('none', 1) == [sys.executable, '-m', 'kd_plugins', 'train']
