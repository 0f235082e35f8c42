"""Running statistics of unlabelled images, apart from those of labelled ones, and how far they differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.statistics import SeparateStatistics
from tests.hooks.tiny_runs import EMA, GAP, make_runner
from tests.hooks.unlabelled_runs import ON, NormedStudent, images


def test_the_originals_are_kept_and_the_batch_normalised() -> None:
    torch.manual_seed(0)
    norm, x = nn.BatchNorm1d(3), torch.randn(8, 3, requires_grad=True)
    first = norm(torch.randn(8, 3))
    before = dict(norm.named_buffers())
    values = {name: buffer.clone() for name, buffer in before.items()}
    with SeparateStatistics().used(norm):
        output = norm(x)
    torch.testing.assert_close(output.mean(dim=0), torch.zeros(3), atol=1e-6, rtol=0)
    for name, buffer in norm.named_buffers():
        assert buffer is before[name] and torch.equal(buffer, values[name])
    (first.sum() + output.square().sum()).backward()
    assert x.grad is not None


def test_originals_come_back_after_an_error() -> None:
    norm = nn.BatchNorm1d(2, track_running_stats=False)
    separate = SeparateStatistics()
    with separate.used(norm):
        assert norm.running_mean is None
    assert separate.monitors() == {}
    norm = nn.BatchNorm1d(2)
    mean = norm.running_mean
    with pytest.raises(ValueError, match='stop'), SeparateStatistics().used(norm):
        raise ValueError('stop')
    assert norm.running_mean is mean


def test_the_shift_is_in_running_standard_deviations() -> None:
    """Two layers, of which one sees other images that are 3 standard deviations brighter."""
    torch.manual_seed(0)
    shifted, same, separate = nn.BatchNorm1d(2), nn.BatchNorm1d(2), SeparateStatistics()
    layers = nn.ModuleList([shifted, same])
    assert separate.monitors() == {} and not separate.began
    points = torch.randn(64, 2)
    offsets = torch.tensor([2.0, 4.0])
    for _ in range(200):
        shifted(5 * points + 1), same(points)
        with separate.used(layers):
            shifted(5 * points + 1 + 5 * offsets), same(points)
    assert separate.began
    scale = (5 * points).std(dim=0)
    expected = (5 * offsets / scale).mean() / 2
    torch.testing.assert_close(separate.monitors()['shift'], expected, atol=1e-3, rtol=1e-3)


def test_layers_in_eval_mode_have_no_part() -> None:
    separate, norm = SeparateStatistics(), nn.BatchNorm1d(2).eval()
    with separate.used(norm):
        norm(torch.ones(3, 2))
    assert separate.monitors() == {}


@pytest.mark.parametrize('statistics', ['labelled', 'both'])
def test_a_run_logs_the_shift(tmp_path: Path, statistics: str) -> None:
    distill = DistillHook({'gap': GAP, 'other': ON}, EMA, unlabelled=images(statistics=statistics), log_interval=2)
    runner = make_runner(tmp_path / 'run', [distill], model=NormedStudent(), log_level='INFO')
    runner.train()
    lines = [json.loads(line) for path in tmp_path.rglob('scalars.json') for line in path.read_text().splitlines()]
    shifts = [
        line['distill.unlabelled.statistics/shift'] for line in lines if 'distill.unlabelled.statistics/shift' in line
    ]
    assert [shift > 0 for shift in shifts] == ([True] * 4 if statistics == 'labelled' else [])
