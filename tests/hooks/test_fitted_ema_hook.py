"""Averages of short and long runs: momentum, what is left of the start, resuming, and the released function."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from torch import nn

from kd_plugins.comparison.entries import evaluated_weights
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import FittedEMAHook
from kd_plugins.hooks.averages import start_decay
from kd_plugins.hooks.fitted_ema_hook import fitted
from tests.hooks.tiny_runs import TinyStudent, make_runner

EXPONENTIAL = dict(ema_type='ExponentialMovingAverage', gamma=None)


@pytest.mark.parametrize('updates', [20, 468, 3_000, 100_000, 500_000])
def test_less_than_a_promille_of_the_start_is_left(updates: int) -> None:
    pytest.importorskip('mmdet')
    from mmdet.models.layers import ExpMomentumEMA

    model = nn.Linear(1, 1)
    momentum, gamma = fitted(1e-4, 1000, updates, 100_000)
    assert start_decay(ExpMomentumEMA(model, momentum=min(momentum, 0.99), gamma=gamma), updates) > 9
    assert (momentum == 1e-4) == (updates >= 100_000)


def test_a_long_run_has_the_released_average() -> None:
    """``decay = 0.9999 * (1 - exp(-t / 1000))``, t from 1, of Peterande/D-FINE, src/optim/ema.py."""
    pytest.importorskip('mmdet')
    from mmdet.models.layers import ExpMomentumEMA

    momentum, gamma = fitted(1e-4, 1000, 200_000, 100_000)
    average = ExpMomentumEMA(nn.Linear(1, 1), momentum=momentum, gamma=gamma)
    for step in (1, 10, 1000, 50_000):
        left = torch.ones((), dtype=torch.float64)
        average.avg_func(left, torch.zeros_like(left), step)
        assert float(left) == pytest.approx(0.9999 * (1 - math.exp(-(step + 1) / 1000)), rel=1e-12)


def test_the_hook_reads_the_length_of_the_run(tmp_path: Path) -> None:
    hook = FittedEMAHook(momentum=0.01, whole=80, interval=2, **EXPONENTIAL)  # type: ignore[arg-type]
    runner = make_runner(tmp_path / 'whole', [hook], epochs=2)
    runner.train()
    assert hook.ema_model.momentum == pytest.approx(0.01 * 80 / (8 / 2))
    assert isinstance(hook, EMAHook) and hook.ema_model.update_buffers
    assert evaluated_weights(Config({'default_hooks': {'ema': {'type': 'kd_plugins.FittedEMAHook'}}})) == 'averaged'
    late = FittedEMAHook(momentum=0.01, whole=80, begin_epoch=2, **EXPONENTIAL)  # type: ignore[arg-type]
    make_runner(tmp_path / 'late', [late], epochs=3).train()
    assert late.ema_model.momentum == pytest.approx(0.01 * 80 / 8)


def test_a_resumed_run_keeps_the_average(tmp_path: Path) -> None:
    student = TinyStudent()
    student.dropout.p = 0.0

    def average(work_dir: Path, epochs: int, **settings: Any) -> dict[str, torch.Tensor]:
        hook = FittedEMAHook(momentum=0.01, whole=160, **EXPONENTIAL)  # type: ignore[arg-type]
        make_runner(work_dir, [hook], model=copy.deepcopy(student), epochs=epochs, **settings).train()
        return dict(hook.ema_model.state_dict())

    whole = average(tmp_path / 'run', 3)
    (tmp_path / 'run' / 'epoch_3.pth').unlink()
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'epoch_2.pth'))
    for name, value in average(tmp_path / 'run', 3, resume=True).items():
        assert torch.equal(value, whole[name]), name


@pytest.mark.parametrize('settings', [{'momentum': 0}, {'gamma': -1}, {'whole': 0}])
def test_mistakes_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f'FittedEMAHook.{next(iter(settings))} is'):
        HOOKS.build({'type': 'kd_plugins.FittedEMAHook', **settings})
