"""Pairs of student and teacher from results, and the rank correlation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.comparison.taught_pairs import rank_correlation, taught_pairs

HOOK = "default_hooks = dict(distill=dict(type='kd_plugins.DistillHook', teacher={}, distillers={{}}))\n"
ARMS = {
    'big': "dict(type='kd_plugins.FrozenTeacher', config='big.py', checkpoint='big.pth')",
    'also_big': "dict(type='kd_plugins.FrozenTeacher', config='big.py', checkpoint='other.pth')",
    'average': "dict(type='kd_plugins.EMATeacher')",
    'random': "dict(type='kd_plugins.FrozenTeacher', config='big.py', checkpoint=None)",
    'self': 'None',
}


def results(folder: Path, metric: str, base: float, gains: dict[str, float]) -> Path:
    folder.mkdir()
    for name, teacher in ARMS.items():
        (folder / f'{name}.py').write_text(HOOK.format(teacher))

    def table(gain: float | None) -> dict[str, Any]:
        entry: dict[str, Any] = {'last': {'mean': base + (gain or 0)}}
        return {metric: entry if gain is None else {**entry, 'difference': {'mean': gain}}}

    configs = {'plain': 'plain.py', **{name: str(folder / f'{name}.py') for name in ARMS}, 'gone': 'gone.py'}
    arms = {'plain': table(None), **{name: table(gain) for name, gain in gains.items()}}
    path = folder / 'results.json'
    path.write_text(json.dumps({'baseline': 'plain', 'metric': metric, 'configs': configs, 'arms': arms}))
    return path


def test_gains_of_the_arms_of_each_teacher(tmp_path: Path) -> None:
    gains = {'big': 0.02, 'also_big': 0.04, 'average': -0.01, 'random': 0.1, 'self': 0.2, 'gone': 0.3}
    accuracy = results(tmp_path / 'one', 'AP', 0.5, gains)
    error = results(tmp_path / 'two', 'NME', 4.0, {'big': 1.0})
    big, average = taught_pairs([accuracy, error])
    assert (big.student, big.teacher, big.arms) == ('plain.py', 'big.py', ('one/big', 'one/also_big', 'two/big'))
    assert big.gain == pytest.approx((4.0 + 8.0 - 25.0) / 3)
    assert (average.teacher, average.gain) == ('plain.py', pytest.approx(-2.0))


def test_an_arm_with_a_run_that_diverged_is_left_out(tmp_path: Path) -> None:
    path = results(tmp_path / 'one', 'AP', 0.5, {'big': 0.02, 'also_big': 0.04})
    values = json.loads(path.read_text())
    values['arms']['also_big']['AP']['difference']['mean'] = None
    path.write_text(json.dumps(values))
    (pair,) = taught_pairs([path])
    assert pair.arms == ('one/big',)


def test_the_rank_correlation_against_scipy() -> None:
    stats = pytest.importorskip('scipy.stats')
    first, second = [3.0, 1.0, 2.0, 2.0, 9.0], [0.1, 0.3, 0.2, 0.0, 0.5]
    rho, p_value = rank_correlation(first, second)
    assert rho == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-3)
    assert 0 < p_value <= 1
    assert rank_correlation([1, 2, 3], [1, 2, 3]) == (1.0, round(2 / 6, 3)), 'two of six orders are as extreme'
    long = list(range(12)), [value % 5 for value in range(12)]
    assert rank_correlation(*long) == tuple(round(float(one), 3) for one in stats.spearmanr(*long))
    assert all(math.isnan(one) for one in rank_correlation([1, 2], [1, 2]))
    assert all(math.isnan(one) for one in rank_correlation([1, 1, 1], [1, 2, 3]))
