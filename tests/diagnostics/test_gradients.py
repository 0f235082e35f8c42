"""Gradients of terms relative to the task, at the largest weight of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.diagnostics.gradients import measure
from kd_plugins.hooks import DistillHook
from tests.hooks.tiny_runs import EMA, GAP, losses_of, make_runner

KEY = 'distill.gap.loss_gap'


def measured(folder: Path, checkpoint: str | None = None, weight: Any = 1.0, count: int = 1) -> dict[str, Any]:
    hook = DistillHook({'gap': {**GAP, 'weight': weight}}, EMA)
    runner = make_runner(folder, [hook])
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    rows = measure(runner, checkpoint, count, depth=1)
    assert checkpoint or all(torch.equal(value, before[name]) for name, value in runner.model.state_dict().items())
    return rows


def test_a_row_for_each_module(tmp_path: Path) -> None:
    rows = measured(tmp_path / 'run')
    assert rows.keys() == {KEY} and rows[KEY].keys() == {'first', 'second'}


def test_terms_count_at_their_largest_weight(tmp_path: Path) -> None:
    warmup = {'type': 'kd_plugins.LinearWarmup', 'value': 4.0, 'end': 6}
    low, high = (measured(tmp_path / str(weight), weight=weight)[KEY] for weight in (1.0, 4.0))
    later = measured(tmp_path / 'warmup', weight=warmup)[KEY]
    for module, row in high.items():
        assert vars(row) == pytest.approx(vars(later[module]))
        assert vars(row) != pytest.approx(vars(low[module]))


def test_a_checkpoint_brings_its_teacher(tmp_path: Path) -> None:
    losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, EMA)], epochs=1)
    later = measured(tmp_path / 'later', str(tmp_path / 'run' / 'epoch_1.pth'))[KEY]
    start = measured(tmp_path / 'start')[KEY]
    assert any(vars(later[module]) != pytest.approx(vars(row)) for module, row in start.items())
