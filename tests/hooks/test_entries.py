"""Entries of hooks in a config, checked before MMEngine builds them."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.entries import check_entries, check_entry

GOOD: dict[str, Any] = {'type': 'kd_plugins.DistillHook', 'distillers': {}}


def test_valid_entries() -> None:
    hooks = {'distill': {**GOOD, 'priority': 'LOW', 'log_interval': 5}, 'timer': None, 'own': {'type': 'OtherHook'}}
    check_entries(Config({'default_hooks': hooks, 'custom_hooks': [{'type': 'kd_plugins.EpochSeedHook'}]}))
    check_entry(DistillHook({}), 'default_hooks.distill')


@pytest.mark.parametrize(
    ('entry', 'sentence'),
    [
        (3, "default_hooks.distill is 3; give a dict with 'type'"),
        ({'distillers': {}}, r"default_hooks.distill is {'distillers': {}}; give a dict with 'type'"),
        (
            {**GOOD, 'type': 'kd_plugnis.DistillHook'},
            "default_hooks.distill.type is 'kd_plugnis.*nearest: 'kd_plugins.Dist",
        ),
        ({**GOOD, 'type': ''}, "default_hooks.distill.type is '', which is not a Hook"),
        ({**GOOD, 'type': b'x'}, "default_hooks.distill.type is b'x', which is not a name"),
        ({**GOOD, 'type': '.'}, "default_hooks.distill.type is '.', which is not a Hook"),
        ({**GOOD, 'techer': {}}, "default_hooks.distill: DistillHook has no argument 'techer'; nearest: 'teacher'"),
        ({**GOOD, 1: 2}, 'default_hooks.distill: DistillHook has no argument 1; valid'),
        ({'type': GOOD['type']}, "default_hooks.distill: DistillHook needs 'distillers'"),
        ({**GOOD, 'log_interval': '5'}, "default_hooks.distill.log_interval is '5'; valid: an integer or None"),
        ({**GOOD, 'atomic_checkpoints': 1}, 'default_hooks.distill.atomic_checkpoints is 1; valid: True or False'),
        ({**GOOD, '_scope_': 3}, 'default_hooks.distill._scope_ is 3; valid: the name of a package'),
        ({'type': 'LoggerHook', 'restart': 1}, "default_hooks.distill: LoggerHook has no argument 'restart'"),
    ],
)
def test_sentences(entry: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f'^{sentence}'):
        check_entries({'default_hooks': {'distill': entry}})


def test_a_custom_hook_is_named_by_its_position() -> None:
    with pytest.raises(ConfigError, match=r'^custom_hooks\[1\]: EpochSeedHook has no argument'):
        check_entries({'custom_hooks': [{'type': 'Own'}, {'type': 'kd_plugins.EpochSeedHook', 'extra': 1}]})
