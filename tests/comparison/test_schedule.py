"""Stretched schedules, checked on the learning rates that MMEngine gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from kd_plugins.comparison.schedule import scaled, stretch
from kd_plugins.errors import ConfigError


def rates(scheduler: dict[str, Any], steps: int) -> list[float]:
    """Learning rate after each step of one scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    built = PARAM_SCHEDULERS.build(dict(scheduler), default_args={'optimizer': optimizer})
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        built.step()
    return values


def config(scheduler: Any, length: int = 8, **others: Any) -> Config:
    return Config({'train_cfg': {'max_epochs': length, 'val_interval': 2}, 'param_scheduler': scheduler, **others})


@pytest.mark.parametrize(
    'scheduler',
    [
        {'type': 'MultiStepLR', 'begin': 0, 'end': 40, 'milestones': [20, 30], 'gamma': 0.1},
        {'type': 'CosineAnnealingLR', 'T_max': 40, 'eta_min': 0.05},
        {'type': 'LinearLR', 'begin': 0, 'end': 20, 'start_factor': 0.2},
        {'type': 'PolyLR', 'begin': 10, 'end': 40, 'power': 0.9},
        {'type': 'StepLR', 'step_size': 15},
        {'type': 'ExponentialLR', 'gamma': 0.95},
        {'type': 'CosineRestartLR', 'periods': [20, 20], 'restart_weights': [1, 0.5], 'eta_min': 0.0},
        {'type': 'OneCycleLR', 'eta_max': 1.0, 'total_steps': 40, 'pct_start': 0.25},
    ],
    ids=lambda scheduler: scheduler['type'],
)
def test_the_rates_have_the_same_shape(scheduler: dict[str, Any]) -> None:
    """In a training of twice the length the rate at step 2k is near that at step k of the original."""
    changed, remarks = stretch(config([scheduler], 40), 80)
    before, after = rates(scheduler, 40), rates(changed.param_scheduler[0], 80)
    assert not remarks and changed.train_cfg == {'max_epochs': 80, 'val_interval': 2}
    exact = scheduler['type'] not in ('OneCycleLR', 'LinearLR', 'PolyLR')  # these reach their end one step before it
    assert after[::2] == pytest.approx(before, abs=1e-6 if exact else 0.05)


def test_iterations_are_stretched_by_the_same_factor() -> None:
    original = Config(
        {
            'train_cfg': {'max_iters': 1000, 'dynamic_intervals': [(900, 1)]},
            'param_scheduler': [{'type': 'LinearLR', 'by_epoch': False, 'end': 100}, {'type': 'PolyLR', 'end': 10**9}],
        }
    )
    changed, remarks = stretch(original, 1370)
    assert changed.train_cfg.max_iters == 1370 and changed.train_cfg.dynamic_intervals == [(1233, 1)] and not remarks
    assert [entry.end for entry in changed.param_scheduler] == [137, 10**9]
    assert original.train_cfg.max_iters == 1000 and original.param_scheduler[0].end == 100


def test_known_hooks_are_moved_and_others_named() -> None:
    hooks = [
        {'type': 'mmdet.PipelineSwitchHook', 'switch_epoch': 6, 'switch_pipeline': []},
        {'type': 'EMAHook', 'momentum': 0.01, 'begin_epoch': 2},
        {'type': 'RTMOModeSwitchHook', 'epoch_attributes': {6: {}}},
        {'type': 'SyncNormHook', 'by_epoch': True},
    ]
    changed, remarks = stretch(
        config([{'type': 'ReduceOnPlateauLR', 'patience': 3}], custom_hooks=hooks, default_hooks={'timer': None}), 12
    )
    assert changed.custom_hooks[0].switch_epoch == 9 and changed.custom_hooks[1].begin_epoch == 3
    assert remarks == [
        'param_scheduler.0: patience and cooldown of ReduceOnPlateauLR count validations and are unchanged',
        'custom_hooks.1.momentum of EMAHook is unchanged (0.01): it averages a smaller part of the run',
        'custom_hooks.2.epoch_attributes of RTMOModeSwitchHook is {6: {}} and unchanged',
    ]


def test_a_distilling_baseline_is_named() -> None:
    changed, remarks = stretch(config(None, default_hooks={'distill': {'type': 'kd_plugins.DistillHook'}}), 9)
    assert changed.train_cfg.max_epochs == 9
    assert remarks == [
        'default_hooks.distill: the weight schedules of its distillers and the beginnings of its teachers are unchanged'
    ]


def test_a_position_stays_at_least_one_and_types_stay() -> None:
    assert scaled(1, 0.2) == 1 and scaled(True, 3.0) is True and scaled('x', 2) == 'x' and scaled(0.5, 2) == 1.0


def test_without_a_length_nothing_is_stretched() -> None:
    with pytest.raises(ConfigError, match='neither max_epochs nor max_iters'):
        stretch(Config({'train_cfg': {}}), 3)
