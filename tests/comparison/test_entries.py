"""Weights that a config evaluates."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS

from kd_plugins.comparison.entries import check_weights, evaluated_weights
from kd_plugins.errors import ConfigError


def test_averaged_weights_are_recognised() -> None:
    class Derived(EMAHook):
        pass

    HOOKS.register_module('DerivedForThisTest', module=Derived)
    try:
        for entry in (
            {'type': 'EMAHook'},
            {'type': 'mmdet.EMAHook'},
            {'type': EMAHook},
            {'type': 'DerivedForThisTest'},
        ):
            assert evaluated_weights(Config({'custom_hooks': [entry]})) == 'averaged', entry
    finally:
        HOOKS.module_dict.pop('DerivedForThisTest')
    assert evaluated_weights(Config({'default_hooks': {'ema': {'type': 'EMAHook'}}})) == 'averaged'
    assert evaluated_weights(Config({'custom_hooks': [{'type': 'IterTimerHook'}], 'default_hooks': None})) == 'raw'


@pytest.mark.parametrize(
    ('semi', 'expected'),
    [({}, 'averaged'), ({'predict_on': 'teacher'}, 'averaged'), ({'predict_on': 'student'}, 'raw'), (None, 'raw')],
)
def test_a_semi_supervised_model_predicts_with_its_teacher(semi: dict[str, Any] | None, expected: str) -> None:
    assert evaluated_weights(Config({'model': {'type': 'A', 'semi_test_cfg': semi}})) == expected


def test_an_average_in_some_arms_alone_is_refused() -> None:
    check_weights([('a', 'raw'), ('b', 'raw')])
    check_weights([('a', 'averaged'), ('b', 'averaged')])
    with pytest.raises(ConfigError, match=r"'b' evaluates averaged weights .*and 'a' does not.*--mixed-weights"):
        check_weights([('a', 'raw'), ('b', 'averaged'), ('c', 'raw')])
