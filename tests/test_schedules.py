"""Weight schedules by iteration and by epoch, and their error sentences."""

from __future__ import annotations

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    GradientShare,
    LinearDecay,
    LinearWarmup,
    Step,
    build_schedule,
    steered_weight,
)

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
            {'type': 'kd_plugins.LinearDecay', 'value': 1, 'end_value': -0.5},
            "distillers.a.weight: 'LinearDecay.end_value' is -0.5; it must be a finite number >= 0, such as 0.0",
        ),
        (
            {'type': 'kd_plugins.Cosine', 'value': 0, 'end_value': 2},
            "'Cosine' goes from value=0 to end_value=2; for a weight that rises use type='kd_plugins.LinearWarmup'",
        ),
        (
            {'type': 'kd_plugins.Step', 'value': 1, 'milestones': [2], 'gamma': -1},
            "distillers.a.weight: 'Step.gamma' is -1; it must be a finite number >= 0, such as 0.1",
        ),
        (
            {'type': 'kd_plugins.LinearWarmup', 'value': -1},
            "distillers.a.weight: 'LinearWarmup.value' is -1; it must be a finite number >= 0",
        ),
        (float('nan'), 'must be a finite number'),
        ({'type': 'kd_plugins.LinearDecay', 'value': 1, 'begin': 5, 'end': 5}, 'end must come after begin'),
        ({'type': 'kd_plugins.Stop', 'value': 1, 'begin': -1}, "'Stop.begin' is -1; it must be a finite number >= 0"),
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


@pytest.mark.parametrize('number', [float('inf'), float('nan'), '1', None])
@pytest.mark.parametrize(
    ('schedule', 'argument', 'others'),
    [
        (Constant, 'value', {}),
        (Constant, 'begin', {'value': 1.0}),
        (LinearWarmup, 'end', {'value': 1.0}),
        (LinearDecay, 'end_value', {'value': 1.0}),
        (Cosine, 'end_value', {'value': 1.0}),
        (Step, 'gamma', {'value': 1.0, 'milestones': [2]}),
        (GradientShare, 'target', {'value': 1.0}),
    ],
)
def test_numbers_are_finite(schedule: Any, argument: str, others: dict[str, Any], number: Any) -> None:
    """Also where Python code makes a schedule, whose arguments no annotation has checked."""
    if (argument, number) == ('end', None):
        return
    with pytest.raises(ConfigError, match=rf"^weight: '{schedule.__name__}\.{argument}' is {number!r}; it must be a "):
        schedule(**others, **{argument: number})
    with pytest.raises(ConfigError, match=r"^weight: 'Step\.milestones\[1\]' is inf; it must be a finite number"):
        Step(1.0, [2, float('inf')])


@pytest.mark.parametrize(
    ('share', 'expected'),
    [
        (0.08, 7.84),  # of the released function; the others by hand
        (0.1, 5.0),
        (0.12, 5.0),
        (0.2, 2.2222),
        (0.001, 50.0),
        (0.99, 0.5),
    ],
)
def test_steered_weight(share: float, expected: float) -> None:
    assert steered_weight(5.0, share, 0.11, 0.01) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('distilled, task', [(0.3, 5.0), (0.5, 1.0), (0.05, 0.9)])
def test_the_next_share_is_the_edge_of_the_band(distilled: float, task: float) -> None:
    def share(weight: float) -> float:
        return weight * distilled / (weight * distilled + task)

    before = share(1.0)
    after = share(steered_weight(1.0, before, 0.11, 0.01))
    assert after == pytest.approx(0.12 if before < 0.11 else 0.1)


def test_the_weight_follows_the_mean_of_several_measurements() -> None:
    schedule = GradientShare(5.0, begin=3, hold=2, interval=2, average=2)
    assert [schedule(step, 10) for step in (0, 2, 3, 9)] == [0.0, 0.0, 5.0, 5.0]
    assert [step for step in range(9) if schedule.measures(step)] == [5, 7]
    for share in (float('nan'), 0.0, 1.0, 0.07):
        schedule.observe(share)
    assert schedule(3, 10) == 5.0 and schedule.state_dict() == {'weight': 5.0, 'shares': [0.07]}
    restored = GradientShare(5.0, begin=3, interval=2, average=2)
    restored.load_state_dict(schedule.state_dict())
    for one in (schedule, restored):
        one.observe(0.09)
        assert one(3, 10) == pytest.approx(7.84, rel=1e-3) and one.state_dict()['shares'] == []
    assert schedule.monitors()['gradient_share'].item() == pytest.approx(0.09)
    schedule.reset()
    assert schedule(3, 10) == 5.0 and not schedule.monitors()


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'target': 11}, "weight: 'GradientShare.target' is 11; it must be a share, such as 0.11"),
        ({'band': -0.1}, "weight: 'GradientShare.band' is -0.1"),
        ({'band': 0.2}, 'both edges of the band must be above 0, for example'),
        ({'value': 0}, "'GradientShare' has value=0, target=0.11"),
        ({'hold': -1}, r'weight.hold is -1; valid: 0, 500'),
        ({'interval': 0}, r'weight.interval is 0; valid: 50, 100'),
        ({'average': 0}, r'weight.average is 0; valid: 1, 10'),
        ({'end': 5}, "GradientShare has no argument 'end'"),
    ],
)
def test_sentences_of_the_share(settings: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_schedule({'type': 'kd_plugins.GradientShare', 'value': 5.0, **settings})
