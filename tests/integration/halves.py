"""Model and teacher for runs on two ranks with half the batch each, which must equal a run with the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.integration.runs import Recorder, Squares, make_runner, model_config, weights

# GroupNorm, because batch statistics of half a batch differ.
MODEL = model_config(norm='GN')
# MMDetection clamps the normaliser of these two losses at 1 on each rank, so at low scores they depend on the number of
# ranks. Without them the whole run must be equal.
MODEL['bbox_head']['loss_bbox']['loss_weight'] = 0.0
MODEL['bbox_head']['loss_dfl']['loss_weight'] = 0.0
# A teacher that differs from the student from the first step on, so that the terms are not 0.
RANDOM_TEACHER = {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': MODEL}, 'checkpoint': None}


def train_share(work_dir: Path, batch_size: int, distillers: dict[str, Any], **distill: Any) -> dict[str, Any]:
    """Train for four iterations, on this rank where there are several; return losses and final weights."""
    recorder = Recorder()
    settings: dict[str, Any] = dict(
        model=MODEL,
        # Adam divides by the size of the gradient, which would enlarge rounding errors.
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9)),
        hooks=[recorder],
        dataset=Squares(8, empty=True),
        epochs=2,
        distill=distill,
    )
    if dist.is_initialized():
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
        settings |= dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    runner = make_runner(work_dir, distillers, RANDOM_TEACHER, batch_size=batch_size, **settings)
    threads = torch.get_num_threads()
    # As the ranks do: sums in another order may move an activation across the corner of a ReLU.
    torch.set_num_threads(1)
    try:
        runner.train()
    finally:
        torch.set_num_threads(threads)
    model = runner.model.module if dist.is_initialized() else runner.model
    return {'losses': recorder.losses, 'weights': weights(model)}


def assert_equals_whole(ranks: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """Fail unless the results of two ranks give the losses of distillation and the weights of the whole run."""
    first, second = ranks
    for step, (one, two, expected) in enumerate(zip(first['losses'], second['losses'], whole['losses'], strict=True)):
        for key in (key for key in expected if key.startswith('distill')):
            assert (one[key] + two[key]) / 2 == pytest.approx(expected[key], rel=1e-3), (step, key)
    assert_close(first['weights'], whole['weights'])
    assert all(torch.equal(value, second['weights'][name]) for name, value in first['weights'].items())


def assert_close(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Fail unless the values agree within the rounding of a short run."""
    for name, value in first.items():
        torch.testing.assert_close(
            value, second[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}'
        )
