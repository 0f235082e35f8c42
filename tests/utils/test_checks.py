"""Checks of arguments and shapes, each one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.utils import checks

X, Y = torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)


@pytest.mark.parametrize(
    ('check', 'value'),
    [
        (lambda: checks.check_choice('k', 'sum', ['mean', 'sum']), 'sum'),
        (lambda: checks.check_flag('k', False), False),
        (lambda: checks.check_integer('k', 3, 3, 'valid: 3'), 3),
        (lambda: checks.check_number('k', 0, positive=False), 0.0),
        (lambda: checks.check_number('k', 1e-9, positive=True), 1e-9),
        (lambda: checks.check_module_paths('k', ('neck',), ['head']), ['neck']),
        (lambda: checks.check_channel_dim('k', -1), -1),
        (lambda: checks.channel_count('k', X, -1, 'the map'), 4),
        (lambda: checks.check_adapter('k', None), None),
        (lambda: checks.check_adapter('k', {'type': 'A'}), {'type': 'A'}),
        (lambda: checks.check_levels('k', [X, X], [Y, X], 'maps'), None),
        (lambda: checks.check_same_size('k', [X], [X], 'resize'), None),
    ],
)
def test_valid_values_are_returned(check: Callable[[], Any], value: Any) -> None:
    assert check() == value


@pytest.mark.parametrize(
    ('check', 'sentence'),
    [
        (lambda: checks.check_choice('k', 'men', ['mean', 'sum']), "^k is 'men'; nearest: 'mean'$"),
        (lambda: checks.check_integer('k', 10**30, 1, 'valid: 3'), '^k is 10+; valid: 3$'),
        (lambda: checks.check_choice('k', None, ['mean']), "^k is None; valid: 'mean'$"),
        (lambda: checks.check_flag('k', 1), '^k is 1; valid: True, False$'),
        (lambda: checks.check_integer('k', 2, 3, 'valid: 3 or more'), '^k is 2; valid: 3 or more$'),
        (lambda: checks.check_integer('k', True, 1, 'valid: 1'), '^k is True; valid: 1$'),
        (lambda: checks.check_integer('k', 3.0, 1, 'valid: 1'), '^k is 3.0; valid: 1$'),
        (lambda: checks.check_number('k', 0, positive=True), 'it must be a finite number > 0'),
        (lambda: checks.check_number('k', -1, positive=False), 'it must be a finite number >= 0'),
        (lambda: checks.check_number('k', float('nan'), positive=False), 'k is nan'),
        (lambda: checks.check_number('k', float('inf'), positive=False), 'k is inf'),
        (lambda: checks.check_number('k', '1', positive=False, example=5.0), "k is '1'; .* 5.0$"),
        (lambda: checks.check_number('k', True, positive=False), 'k is True'),
        (lambda: checks.check_channel_dim('k', 0), r'^k is 0; valid: 1 for \(N, C'),
        (
            lambda: checks.channel_count('k', X, 3, 'the map'),
            r'k is 3 and the map has shape \(2, 3, 4\); valid: 1 to 2',
        ),
        (lambda: checks.channel_count('k', X, -3, 'the map'), 'k is -3'),
        (lambda: checks.check_adapter('k', 'linear'), "k is 'linear'; valid: 'auto', None, dict"),
        (lambda: checks.check_adapter('k', {'out_channels': 3}), 'k is {'),
        (lambda: checks.check_levels('k', [X], [X, X], 'maps'), 'the student gives 1 maps and the teacher 2'),
        (lambda: checks.check_levels('k', [X], [X[0]], 'maps'), r'maps\[0\] .*\(2, 3, 4\) .*\(3, 4\)'),
        (
            lambda: checks.check_same_size('k', [X, X], [X, Y], 'set resize'),
            r'level 1 .*\(2, 3, 4\).*\(2, 3, 5\); set r',
        ),
    ],
)
def test_sentences(check: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check()
