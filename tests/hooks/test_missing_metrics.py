"""Validations that measure nothing, in the log of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from kd_plugins.hooks.missing_metrics import MissingMetrics
from kd_plugins.runner.run_log import Series, read_run
from tests.hooks.tiny_runs import Points, loader_of, make_runner


@METRICS.register_module(force=True)
class SecondLacksAP(BaseMetric):
    """A metric that measures nothing in the second validation, as CocoMetric where nothing is found."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        self.calls += 1
        return {} if self.calls == 2 else {'AP': self.calls / 4}


def series_of(work_dir: Path, hooks: list[Any]) -> Series:
    validation: dict[str, Any] = dict(
        val_dataloader=loader_of(Points()), val_cfg=dict(), val_evaluator=dict(type='SecondLacksAP')
    )
    make_runner(work_dir, hooks, epochs=3, **validation).train()
    return read_run(work_dir).metrics['AP']


def test_a_validation_without_a_metric_has_no_number(tmp_path: Path) -> None:
    assert series_of(tmp_path / 'plain', []) == {1: 0.25, 2: 0.25, 3: 0.75}, 'MMEngine repeats the value before'
    checked = series_of(tmp_path / 'checked', [MissingMetrics()])
    assert checked == {1: 0.25, 2: pytest.approx(math.nan, nan_ok=True), 3: 0.75}
