"""Hooks of a config, and the weights that it evaluates."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS

from kd_plugins.comparison.entries import check_weights, distill_entry, evaluated_weights, hooks_of
from kd_plugins.config.loading import class_name
from kd_plugins.errors import ConfigError

CONFIG = Config(
    {
        'default_hooks': {'timer': {'type': 'IterTimerHook', 'inner': {'type': 'X'}}, 'off': None},
        'custom_hooks': [{'type': 'EMAHook'}, {'type': 'kd_plugins.DistillHook', 'distillers': {'a': {'type': 'B'}}}],
    }
)


def test_hooks_are_found_without_what_they_hold() -> None:
    assert [path for path, _ in hooks_of(CONFIG)] == ['default_hooks.timer', 'custom_hooks.0', 'custom_hooks.1']
    assert distill_entry(CONFIG) is CONFIG.custom_hooks[1] and distill_entry(Config()) is None
    assert class_name({'type': EMAHook}) == 'EMAHook' and class_name({}) == 'None'


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
