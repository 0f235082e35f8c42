"""The comparison of local graph distillation with its direct form: same values, a table, numbers in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.distillers.local_graph.selection import reweighting
from kd_plugins.errors import KDPluginsError

tool = import_module('tools.benchmark.local_graph')
SMALL = ['--points', '60', '--selected', '40', '--neighbours', '8', '--channels', '6', '4', '--edge-channels', '4']
SMALL += ['--repeats', '1']


@pytest.fixture
def compare(run: Any) -> Iterator[Any]:
    threads = torch.get_num_threads()
    yield lambda *arguments: run(tool, *SMALL, *arguments)
    torch.set_num_threads(threads)


@pytest.mark.parametrize('pool', [[], ['--pool']])
def test_table_and_numbers(tmp_path: Path, compare: Any, pool: list[str]) -> None:
    out = tmp_path / 'new' / 'numbers.json'
    printed = compare(*pool, '--out', out).out
    assert 'direct / ours' in printed and 'float64: losses agree' in printed and 'float32: losses agree' in printed
    found = json.loads(out.read_text())
    assert found['agreement']['float64']['gradient'] < 1e-9 and found['agreement']['float64']['same_neighbours'] == 1
    for name, parts in found['seconds'].items():
        assert parts['step'][0] == pytest.approx(parts['search'][0] + parts['edges'][0]), name
    assert found['ratios']['memory'] == pytest.approx(found['bytes']['direct'] / found['bytes']['ours'])


def test_both_sides_train_every_tensor() -> None:
    args = tool.parser().parse_args(SMALL)
    for kind in (tool.Ours, tool.Direct):
        side = kind(args, 60, torch.float32)
        side.step()
        assert len(side.gradients()) == len(side.leaves) == 7
        assert all(grad.isfinite().all() and grad.any() for grad in side.gradients())


def test_the_direct_form_needs_more_memory() -> None:
    args = tool.parser().parse_args(['--points', '800', '--selected', '600', '--neighbours', '64'])
    ours, direct = (tool.peak_bytes(kind(args, 800, torch.float32), 'cpu') for kind in (tool.Ours, tool.Direct))
    assert direct > 5 * ours


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, 'reweighting', lambda importance, temperature: reweighting(importance, 2 * temperature))
    with pytest.raises(KDPluginsError, match='the two sides differ: the loss by'):
        tool.compare(tool.parser().parse_args(SMALL), 60, torch.float64)


def test_what_does_not_fit_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, compare: Any) -> None:
    monkeypatch.setattr(tool, 'bytes_free', lambda device: 1000)
    done = compare()
    assert 'does not fit' in done.out and 'float32' not in done.out
    assert done.err.startswith('note: the direct form would need') and done.err.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--repeats', '0'], '--repeats is 0; nearest: 1'),
        (['--channels', '0', '3'], '--channels is 0; nearest: 1'),
        (['--edge-channels', '0'], '--edge-channels is 0; nearest: 1'),
        (['--selected', '61'], '--selected is 61, more than the points; nearest: 60'),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str, compare: Any) -> None:
    done = compare(*arguments)
    assert done.status == 2 and done.err == f'error: {sentence}\n'
