"""Terms that are not finite: in one process, in several passes, with a loss scaler, and on one of two ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from kd_plugins.distillers import Batch
from kd_plugins.distillers.collection import Term
from kd_plugins.errors import NonFiniteLossError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.non_finite import PATIENCE, NonFiniteGuard
from kd_plugins.hooks.observer import StepReport
from tests.hooks.tiny_runs import EMA, GAP, TinyStudent, losses_of
from tests.ranks import on_two_ranks

INF = float('inf')


def add(guard: NonFiniteGuard, *values: float) -> None:
    terms = [Term('a', f'loss_{name}', torch.tensor(value), 1.0) for name, value in zip('xyz', values)]
    guard.add(StepReport(terms, torch.tensor(1.0), Batch(None, []), {}, {}))


def test_the_first_broken_term_is_named() -> None:
    guard = NonFiniteGuard()
    assert guard.check(0) is None
    add(guard, 1.0, 2.0)
    assert guard.check(0) is None
    add(guard, 1.0, -INF)
    with pytest.raises(NonFiniteLossError, match=r"^'distill.a.loss_y' became -inf at iteration 2 on the images"):
        guard.check(1)


def test_every_pass_of_an_iteration_counts() -> None:
    guard = NonFiniteGuard()
    add(guard, float('nan'))
    add(guard, 1.0)
    with pytest.raises(NonFiniteLossError, match="'distill.a.loss_x' became nan"):
        guard.check(0)
    add(guard, 1.0)
    assert guard.check(1) is None


def test_task_losses_that_train_nothing_count(tmp_path: Path) -> None:
    class Undefined(TinyStudent):
        def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
            losses = super().forward(inputs, data_samples, mode)
            return {**losses, 'loss_task': losses['loss_task'] / 0} if mode == 'loss' else losses

    match = (
        r"'task.loss', the task losses with the factor 0, became nan at iteration 1 on the images .* finite loss for"
    )
    with pytest.raises(NonFiniteLossError, match=match):
        losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, EMA, task_weight=0.0)], model=Undefined())


def test_a_loss_scaler_may_skip_some_steps() -> None:
    guard, scaler = NonFiniteGuard(), object()
    for iteration in range(PATIENCE - 1):
        add(guard, INF)
        warning = guard.check(iteration, scaler)
        assert warning is not None and warning.endswith('the loss scaler skips this step')
    add(guard, 1.0)
    assert guard.check(PATIENCE, scaler) is None
    for iteration in range(PATIENCE - 1):
        add(guard, INF)
        guard.check(iteration, scaler)
    add(guard, INF)
    with pytest.raises(NonFiniteLossError, match=f'{PATIENCE} times in a row'):
        guard.check(PATIENCE, scaler)


def test_no_checkpoint_is_written(tmp_path: Path) -> None:
    distill = DistillHook({'gap': {**GAP, 'factor': INF}}, EMA)
    with pytest.raises(
        NonFiniteLossError, match=r"'distill.gap.loss_gap' became (nan|inf) at iteration 1 on the images"
    ):
        losses_of(tmp_path / 'run', [distill])
    assert not list((tmp_path / 'run').glob('*.pth'))


def outcome_of(job: Callable[[], Any]) -> str:
    """Return the sentence with which a job stops."""
    try:
        job()
    except NonFiniteLossError as error:
        return str(error)
    return 'went on'


def one_rank_breaks() -> str:
    guard = NonFiniteGuard()
    add(guard, 1.0)
    guard.check(0)
    add(guard, float('nan') if dist.get_rank() else 1.0)
    return outcome_of(lambda: guard.check(1))


@pytest.mark.distributed
@pytest.mark.slow
def test_every_rank_stops(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, one_rank_breaks)
    assert first.startswith('a distillation term of another rank became NaN or infinite at iteration 2')
    assert second.startswith("'distill.a.loss_x' became nan at iteration 2")


def train_with_one_broken_rank(work_dir: Path) -> Any:
    distill = DistillHook({'gap': {**GAP, 'factor': float('nan') if dist.get_rank() else 1.0}}, EMA)
    settings = dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None))
    return outcome_of(lambda: losses_of(work_dir, [distill], launcher='pytorch', cfg=settings))


@pytest.mark.distributed
@pytest.mark.slow
def test_a_run_on_two_ranks_stops_on_both(tmp_path: Path) -> None:
    sentences = on_two_ranks(tmp_path, train_with_one_broken_rank, tmp_path / 'run')
    assert all('at iteration 1' in sentence for sentence in sentences)
