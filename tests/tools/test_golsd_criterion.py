"""The comparison of the D-FINE losses with those of transformers: same values, a table, numbers in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import KDPluginsError

pytest.importorskip('mmdet')
pytest.importorskip('transformers')
from kd_plugins.models.dfine import VFLLoss

tool = import_module('tools.benchmark.golsd_criterion')
sides = import_module('tools.benchmark.golsd_sides')
SMALL = ['--layers', '2', '--queries', '12', '--classes', '4', '--repeats', '1']


@pytest.fixture
def compare(run: Any) -> Iterator[Any]:
    threads = torch.get_num_threads()
    yield lambda *arguments: run(tool, *SMALL, *arguments)
    torch.set_num_threads(threads)


def test_table_and_numbers(tmp_path: Path, compare: Any) -> None:
    out = tmp_path / 'new' / 'numbers.json'
    printed = compare('--images', '1', '2', '--objects', '1', '3', '--out', out).out
    # 3 terms of 4 matched sets and 3 denoising ones, FGL of 2 layers and DDF of 1 in both.
    assert 'transformers / ours' in printed and '27 losses of both sides agree' in printed
    found = json.loads(out.read_text())
    assert [(size['images'], size['objects']) for size in found['sizes']] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    for size in found['sizes']:
        assert size['ratio'] == pytest.approx(size['theirs'][0] / size['ours'][0])
    assert found['agreement']['loss'] < 1e-4 and found['agreement']['gradient'] < 1e-4


@pytest.mark.parametrize('complete', [False, True])
def test_both_sides_train_every_tensor(complete: bool) -> None:
    batch = sides.make_batch(2, 3, layers=2, queries=12, classes=4)
    for side in (sides.ours(batch), sides.theirs(batch, complete)):
        side.run()
        assert [part.numel() for part in side.leaves] == [
            getattr(batch, name).numel() for name in ('scores', 'boxes', 'logits', 'proposal_scores', 'proposal_boxes')
        ]
        assert all(part.grad is not None and part.grad.isfinite().all() and part.grad.any() for part in side.leaves)


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('kd_plugins.models.dfine.VFLLoss', lambda: VFLLoss(alpha=0.5))
    with pytest.raises(KDPluginsError, match=r'different things: .*loss_cls differs'):
        tool.check(tool.parser().parse_args(SMALL))


def test_what_does_not_fit_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, compare: Any) -> None:
    monkeypatch.setattr(tool, 'bytes_free', lambda device: 1000)
    done = compare('--images', '1', '--objects', '2')
    assert 'does not fit' in done.out
    assert done.err.startswith('note: 1 images of 2 objects') and done.err.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--layers', '1'], '--layers is 1; nearest: 2'),
        (['--objects', '3', '0'], '--objects is 0; nearest: 1'),
        (['--objects', '13'], '--objects is 13, more than the queries; nearest: 12'),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str, compare: Any) -> None:
    done = compare(*arguments)
    assert done.status == 2 and done.err == f'error: {sentence}\n'
