"""What distillers watch besides their losses reaches the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import BaseDistiller
from kd_plugins.hooks.term_log import read_monitors


class Watching(BaseDistiller):
    def monitors(self) -> dict[str, Tensor]:
        return {'points': torch.tensor(3, dtype=torch.int64), 'spread': torch.tensor(0.5, requires_grad=True)}


def test_values_of_all_distillers() -> None:
    monitors = read_monitors({'a': Watching(), 'b': BaseDistiller(), 'c': Watching()})
    assert [watched.scalars() for watched in monitors] == [
        {f'distill.{name}/points': 3.0, f'distill.{name}/spread': 0.5} for name in 'ac'
    ]
    assert read_monitors({'b': BaseDistiller()}) == []


def test_a_run_logs_how_many_points_count(tmp_path: Path) -> None:
    pytest.importorskip('mmdet')
    from tests.integration.runs import EMA, make_runner

    graph = dict(type='kd_plugins.LocalGraphDistiller', num_points=10, num_neighbours=4, channels=4)
    runner = make_runner(tmp_path, {'graph': graph}, EMA, epochs=1, distill={'log_interval': 2}, log_level='INFO')
    runner.train()
    lines = [json.loads(line) for path in tmp_path.rglob('scalars.json') for line in path.read_text().splitlines()]
    watched = [line for line in lines if 'distill.graph/effective_points' in line]
    assert watched
    for line in watched:
        assert 1 <= line['distill.graph/effective_points'] <= line['distill.graph/selected_points'] <= 10
        assert line['distill.graph/teacher_spread'] > 0.1 and line['distill.graph/student_spread'] > 0.1
    logged = ''.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert 'distill.graph: selected_points ' in logged
