"""Hooks of a config, and the entry of the DistillHook."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.hooks import EMAHook

from kd_plugins.config.hook_entries import distill_entry, hooks_of
from kd_plugins.config.loading import class_name

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


def test_the_key_counts_before_the_class() -> None:
    entry = {'distillers': {}}
    config = {'default_hooks': {'other': {'type': 'kd_plugins.DistillHook'}, 'distill': entry}}
    assert distill_entry(config) is entry
