"""Epochs and optimizer steps of loops of epochs and of iterations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from kd_plugins.hooks import loop_epochs
from kd_plugins.hooks.loop_epochs import OptimizerSteps, current_epoch, epoch_length, finished_epoch
from tests.hooks.tiny_runs import ITERATIONS, Points, make_runner


class Watch(Hook):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int | None, bool]] = []

    def before_train(self, runner: Any) -> None:
        self.steps = OptimizerSteps(runner)

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        length = epoch_length(runner)
        self.seen.append((current_epoch(runner, length), finished_epoch(runner, length), self.steps.stepped(runner)))


def watched(tmp_path: Path, **settings: Any) -> list[tuple[int, int | None, bool]]:
    watch = Watch()
    make_runner(tmp_path / 'run', [watch], default_hooks=dict(checkpoint=None), **settings).train()
    return watch.seen


def test_a_loop_of_epochs_reports_them_itself(tmp_path: Path) -> None:
    assert watched(tmp_path) == [(0, None, True)] * 4 + [(1, None, True)] * 4


def test_in_a_loop_of_iterations_an_epoch_is_one_pass_over_the_data(tmp_path: Path) -> None:
    ends = [(0, None)] * 3 + [(0, 0)] + [(1, None)] * 3 + [(1, 1)] + [(2, None)] * 2
    assert [step[:2] for step in watched(tmp_path, **ITERATIONS)] == ends


def test_accumulation_steps_in_every_fourth_iteration_and_in_the_last(tmp_path: Path) -> None:
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=4)
    steps = [stepped for *_, stepped in watched(tmp_path, optim_wrapper=wrapper, **ITERATIONS)]
    assert steps == [False, False, False, True] * 2 + [False, True]


def test_each_rank_takes_its_share_of_an_infinite_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loader:
        sampler = InfiniteSampler(Points())

        def __len__(self) -> int:
            return 10

    runner: Any = SimpleNamespace(train_dataloader=Loader())
    assert epoch_length(runner) == 10
    monkeypatch.setattr(loop_epochs, 'get_world_size', lambda: 4)
    assert epoch_length(runner) == 3
    runner.train_dataloader.sampler = None
    assert epoch_length(runner) == 10, 'other samplers have the length of one rank'


def test_a_stream_has_no_length() -> None:
    assert epoch_length(SimpleNamespace(train_dataloader=iter([]))) is None


def test_a_foreign_optimizer_wrapper_steps_always() -> None:
    runner = SimpleNamespace(optim_wrapper=object())
    assert OptimizerSteps(runner).stepped(runner)


def test_an_optimizer_that_rests_after_its_step_does_not_step_again() -> None:
    """Two optimizers take turns, and each accumulates the gradients of two iterations."""
    layers = {name: nn.Linear(1, 1) for name in ('first', 'second')}
    wrappers = {
        name: OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.1), accumulative_counts=2)
        for name, layer in layers.items()
    }
    runner = SimpleNamespace(optim_wrapper=OptimWrapperDict(**wrappers))
    steps, seen = OptimizerSteps(runner), []
    for name in ('first', 'second') * 4:
        wrappers[name].update_params(layers[name](torch.ones(1)).sum())
        seen.append(steps.stepped(runner))
    assert seen == [False, False, True, True] * 2
