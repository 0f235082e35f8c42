"""A second stage without a validation before it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.config.second_stage import check_second_stage
from kd_plugins.errors import ConfigError


def config(stage: dict[str, Any] | None = None, **train_cfg: Any) -> Config:
    entry = {'type': 'kd_plugins.SecondStageHook', 'stop_epoch': 5, **(stage or {})}
    loop = {'max_epochs': 8, **train_cfg}
    return Config({'default_hooks': {'second_stage': entry}, 'val_cfg': {'type': 'ValLoop'}, 'train_cfg': loop})


def test_a_validation_in_the_first_stage_is_enough() -> None:
    check_second_stage(config(val_interval=5))
    check_second_stage(config(val_interval=6, dynamic_intervals=[(3, 1)]))
    check_second_stage(config({'stop_epoch': 9}, val_interval=10))  # it never begins, which the hook says
    check_second_stage(config({'reload_best': False}, val_interval=8))


def test_none_is_refused() -> None:
    without = config()
    without.val_cfg = None
    with pytest.raises(
        ConfigError, match=r'default_hooks\.second_stage goes on.*val_cfg is None; .*reload_best=False$'
    ):
        check_second_stage(without)
    for settings in ({'val_interval': 6}, {'val_begin': 6}):
        with pytest.raises(
            ConfigError, match=r'follows epoch 6, .*the first 5 epochs; nearest: train_cfg\.val_interval'
        ):
            check_second_stage(config(**settings))
    without.custom_hooks, without.default_hooks = [without.default_hooks.second_stage], {}
    with pytest.raises(ConfigError, match=r'custom_hooks\.0'):
        check_second_stage(without)
