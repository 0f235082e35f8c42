"""Means of terms, monitors, and the sentences about them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from kd_plugins.distillers import BaseDistiller, Batch
from kd_plugins.distillers.collection import Term
from kd_plugins.hooks.term_log import TermLog, image_names, log_scalars, on_one_device, read_monitors


class Watching(BaseDistiller):
    def monitors(self) -> dict[str, Tensor]:
        return {'points': torch.tensor(3, dtype=torch.int64), 'spread': torch.tensor(0.5, requires_grad=True)}


def test_values_of_all_distillers() -> None:
    monitors = read_monitors({'a': Watching(), 'b': BaseDistiller(), 'c': Watching()})
    assert [watched.scalars() for watched in monitors] == [
        {f'distill.{name}/points': 3.0, f'distill.{name}/spread': 0.5} for name in 'ac'
    ]
    assert read_monitors({'b': BaseDistiller()}) == []


def test_values_of_the_cpu_join_those_of_the_accelerator() -> None:
    """As the factor of a task loss beside what a distiller watches. A device without values is the accelerator."""
    with FakeTensorMode():
        values = on_one_device([torch.tensor(0.5), torch.zeros((), device='meta'), torch.tensor(1.0)])
    assert {value.device.type for value in values} == {'meta'}


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


def terms(*values: float, weight: float = 0.5) -> list[Term]:
    return [Term('a', f'loss_{name}', torch.tensor(value), weight) for name, value in zip('xy', values)]


def test_a_resumed_run_reports_the_means_of_the_whole_one() -> None:
    whole, cut, resumed = TermLog(), TermLog(), TermLog()
    for log in (whole, cut):
        log.add(terms(1.0, 4.0), torch.tensor(2.0))
    resumed.load_state_dict(cut.state_dict())
    for log in (whole, resumed):
        log.add(terms(3.0, 8.0), torch.tensor(6.0))
    assert resumed.take() == whole.take()
    # Terms of another config are not mixed with those of the checkpoint.
    resumed.load_state_dict(cut.state_dict())
    resumed.add(terms(3.0), torch.tensor(6.0))
    assert [report.raw for report in resumed.take()] == [3.0]


def test_means_since_the_last_report() -> None:
    log = TermLog()
    log.add(terms(1.0, 4.0), torch.tensor(2.0))
    log.add(terms(3.0, 8.0, weight=1.0), torch.tensor(6.0))
    first, second = log.take()
    assert (first.key, first.raw, first.weight) == ('distill.a.loss_x', 2.0, 1.0)
    # 0.5 x 1 and 1 x 3; the task loss is 4 on average.
    assert (first.weighted, first.ratio) == (1.75, 0.4375)
    assert (second.raw, second.weighted) == (6.0, 5.0)
    assert log.take() == []
    log.add(terms(5.0), torch.tensor(1.0))
    assert [report.raw for report in log.take()] == [5.0]


def test_a_task_without_loss_has_the_ratio_0() -> None:
    log = TermLog()
    log.add(terms(1.0), torch.tensor(0.0))
    assert log.take()[0].ratio == 0.0


def test_the_log_keeps_no_graph() -> None:
    leaf = torch.tensor(1.0, requires_grad=True)
    log = TermLog()
    log.add([Term('a', 'loss', leaf * 2, 1.0)], leaf * 3)
    assert not any(value.requires_grad for value in log._sums)


def test_names_of_images() -> None:
    samples = [SimpleNamespace(metainfo={'img_path': 'a.png', 'img_id': 1}), SimpleNamespace(metainfo={'img_id': 2}), 3]
    assert image_names(Batch(None, samples)) == 'a.png, 2, ?'
    assert image_names(Batch(None, samples), limit=1) == 'a.png and 2 more'
    assert image_names(Batch(None, None)) == 'unknown images'
    # Labels, and the branches of a semi-supervised batch.
    assert image_names(Batch(None, torch.zeros(3))) == image_names(Batch(None, {'sup': samples})) == 'unknown images'


def test_scalars_join_those_of_the_logger() -> None:
    class Visualizer:
        def add_scalars(self, scalars: dict[str, float], step: int = 0, file_path: str | None = None) -> None:
            written.append((scalars, step, file_path))

    written: list[Any] = []
    visualizer = Visualizer()
    log_scalars(visualizer, {'a': 1.0}, 3, merge=False)
    log_scalars(visualizer, {'a': 2.0}, 4, merge=True)
    assert written == [({'a': 1.0}, 3, None)]
    visualizer.add_scalars({'loss': 5.0}, step=4, file_path='log.json')
    visualizer.add_scalars({'loss': 6.0}, step=5)
    assert written[1:] == [({'loss': 5.0, 'a': 2.0}, 4, 'log.json'), ({'loss': 6.0}, 5, None)]
    assert not vars(visualizer)
