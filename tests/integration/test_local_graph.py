"""Local graph distillation on two gloo ranks with half the batch each, compared with one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

pytest.importorskip('mmdet')
from tests.integration.halves import MODEL, RANDOM_TEACHER, assert_close
from tests.integration.runs import Recorder, Squares, make_runner, weights
from tests.ranks import on_two_ranks

# All locations are selected, because a choice between two almost equal values may differ between the runs.
GRAPH = dict(type='kd_plugins.LocalGraphDistiller', num_points=64, num_neighbours=4, channels=4, weight=0.5)


def train(work_dir: Path, batch_size: int) -> dict[str, Any]:
    recorder = Recorder()
    settings: dict[str, Any] = dict(
        model=MODEL,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9)),
        hooks=[recorder],
        dataset=Squares(8, empty=True),
        epochs=2,
    )
    if dist.is_initialized():
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
        settings |= dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    runner = make_runner(work_dir, {'graph': GRAPH}, RANDOM_TEACHER, batch_size=batch_size, **settings)
    runner.train()
    model = runner.model.module if dist.is_initialized() else runner.model
    return {'losses': recorder.losses, 'weights': weights(model)}


def train_half(work_dir: Path) -> dict[str, Any]:
    return train(work_dir / 'half', 2)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_halves_equal_the_whole(tmp_path: Path) -> None:
    whole = train(tmp_path / 'one', 4)
    first, second = on_two_ranks(tmp_path, train_half, tmp_path)
    key = 'distill.graph.loss_local_graph'
    for step, (one, two) in enumerate(zip(first['losses'], second['losses'], strict=True)):
        assert (one[key] + two[key]) / 2 == pytest.approx(whole['losses'][step][key], rel=1e-3), step
    assert_close(first['weights'], whole['weights'])
    assert all(torch.equal(value, second['weights'][name]) for name, value in first['weights'].items())
