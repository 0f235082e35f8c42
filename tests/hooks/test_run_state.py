"""What a run takes over: from its checkpoint, from weights only, or from its own start."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.hooks.run_state import VERSION, RunState
from tests.hooks.tiny_runs import ADAPTED, EMA, Recorder, losses_of, make_runner

STATE = {'version': VERSION, 'teacher': {}, 'distillers': {}, 'optimizer': {}}


def runner_at(iteration: int) -> Any:
    return SimpleNamespace(iter=iteration, logger=logging.getLogger('kd_plugins.tests'))


def hook() -> DistillHook:
    return DistillHook({'gap': ADAPTED}, EMA)


@pytest.mark.parametrize(
    ('checkpoint', 'iteration', 'resumed', 'begins', 'said'),
    [
        (None, 0, False, True, ''),
        ({'optimizer': {}, 'distill': STATE}, 8, True, False, ''),
        ({'optimizer': {}, 'distill': STATE}, 0, False, True, ''),
        ({'optimizer': {}}, 8, False, True, 'from a run without distillation, which begins here'),
        ({}, 8, False, False, 'holds weights only'),
        ({}, 0, False, True, ''),
    ],
)
def test_decisions(
    checkpoint: Any, iteration: int, resumed: bool, begins: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = RunState()
    if checkpoint is not None:
        state.load(checkpoint)
    with caplog.at_level(logging.INFO):
        state.begin(runner_at(iteration))
    assert (state.resumed is not None, state.begins, state.loaded) == (resumed, begins, checkpoint is not None)
    assert said in caplog.text and bool(said) == bool(caplog.text)


def test_another_version_is_refused() -> None:
    state = RunState()
    state.load({'optimizer': {}, 'distill': {'teacher': {}}})
    with pytest.raises(ConfigError, match=f'has version 1, and this package reads version {VERSION}'):
        state.begin(runner_at(8))


def test_an_interrupted_run_goes_on_in_the_same_process(tmp_path: Path) -> None:
    distill, recorder = hook(), Recorder(stop_at=4)
    runner = make_runner(tmp_path / 'run', [EpochSeedHook(), distill, recorder], epochs=2)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    adapter = distill.session.distillers.state_dict()
    updates, average = distill.teachers['teacher'].updates, distill.teachers['teacher'].model.first.weight.clone()
    recorder.stop_at = 6
    seen: list[Any] = []

    class Watch(Recorder):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            seen.append((distill.teachers['teacher'].updates, distill.teachers['teacher'].model.first.weight.clone()))

    runner.register_hook(Watch())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert seen[0][0] == updates and torch.equal(seen[0][1], average)
    assert len(runner.model._forward_hooks) == 1, 'the first session is detached'
    assert distill.session.distillers.state_dict().keys() == adapter.keys()


def test_resume_called_by_hand(tmp_path: Path) -> None:
    """As in a notebook: ``runner.resume(path)``, then ``runner.train()``."""
    whole = losses_of(tmp_path / 'whole', [EpochSeedHook(), hook()], epochs=2)
    recorder = Recorder()
    runner = make_runner(tmp_path / 'resumed', [EpochSeedHook(), hook(), recorder], epochs=2)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.resume(str(tmp_path / 'whole' / 'epoch_1.pth'))
    runner.train()
    # MMEngine itself continues with another order of steps here, so the first iteration is compared.
    assert recorder.losses[0] == whole[4] and recorder.losses[0]['distill.gap.loss_gap'] > 0


def test_weights_of_another_run_start_the_teacher(tmp_path: Path) -> None:
    losses_of(tmp_path / 'source', [hook()], epochs=1)
    distill = hook()
    losses_of(tmp_path / 'run', [distill], epochs=1, load_from=str(tmp_path / 'source' / 'epoch_1.pth'))
    assert distill.teachers['teacher'].updates == 4
