"""Weight schedules by iteration and by epoch, and their error sentences."""

from __future__ import annotations

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.schedules import SCHEDULES, build_schedule

MAX_ITERS, EPOCH = 100, 10


def values(config: Any, at: list[int]) -> list[float]:
    schedule = build_schedule(config)
    return [round(schedule(iteration, MAX_ITERS, EPOCH), 6) for iteration in at]


@pytest.mark.parametrize(
    ('config', 'at', 'expected'),
    [
        (0.5, [0, 99], [0.5, 0.5]),
        ({'type': 'kd_plugins.Constant', 'value': 2, 'begin': 3, 'by_epoch': True}, [29, 30], [0, 2]),
        ({'type': 'kd_plugins.LinearWarmup', 'value': 1.5, 'end': 500}, [0, 50, 99], [0, 0.15, 0.297]),
        (
            {'type': 'kd_plugins.LinearWarmup', 'value': 1, 'begin': 2, 'end': 4, 'by_epoch': True},
            [19, 20, 30, 40],
            [0, 0, 0.5, 1],
        ),
        ({'type': 'kd_plugins.LinearDecay', 'value': 1}, [0, 50, 75], [1, 0.5, 0.25]),
        ({'type': 'kd_plugins.LinearDecay', 'value': 1, 'begin': 50, 'end_value': 0.5}, [0, 50, 75], [1, 1, 0.75]),
        ({'type': 'kd_plugins.Cosine', 'value': 2, 'end_value': 1}, [0, 50, 100], [2, 1.5, 1]),
        ({'type': 'kd_plugins.Step', 'value': 1, 'milestones': [2, 5], 'by_epoch': True}, [19, 20, 50], [1, 0.1, 0.01]),
        ({'type': 'kd_plugins.Stop', 'value': 1, 'begin': 10, 'end': 20}, [9, 10, 19, 20], [0, 1, 1, 0]),
    ],
)
def test_values(config: Any, at: list[int], expected: list[float]) -> None:
    assert values(config, at) == pytest.approx(expected)


@pytest.mark.parametrize('name', SCHEDULES)
def test_every_schedule_is_bounded_by_its_value(name: str) -> None:
    extra = {'milestones': [3]} if name == 'Step' else {}
    weights = values(
        {'type': f'kd_plugins.{name}', 'value': 0.7, **extra, **({'end': 30} if name == 'Stop' else {})},
        list(range(120)),
    )
    assert all(0 <= value <= 0.7 for value in weights)


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        ('high', r"distillers.a.weight is 'high'; give a number or dict\(type='kd_plugins.LinearWarmup'"),
        ({'type': 'kd_plugins.LinearWarmpu', 'value': 1}, "nearest: 'kd_plugins.LinearWarmup'"),
        (
            {'type': 'kd_plugins.LinearWarmup', 'value': -1},
            "distillers.a.weight: 'LinearWarmup.value' is -1; it must be a finite number >= 0",
        ),
        (float('nan'), 'must be a finite number'),
        ({'type': 'kd_plugins.LinearDecay', 'value': 1, 'begin': 5, 'end': 5}, 'end must come after begin'),
        ({'type': 'kd_plugins.Step', 'value': 1, 'milestones': [5, 2]}, r"'Step.milestones' is \[5, 2\]; use \[2, 5\]"),
        (
            {'type': 'kd_plugins.Constant', 'value': 1, 'stop': 5},
            "distillers.a.weight: Constant has no argument 'stop'",
        ),
        (
            {'type': 'kd_plugins.LinearWarmup'},
            "distillers.a.weight: LinearWarmup missing 1 required positional argument: 'value'",
        ),
    ],
)
def test_sentences(config: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_schedule(config, 'distillers.a.weight')
