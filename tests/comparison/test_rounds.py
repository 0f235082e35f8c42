"""Which arms get further seeds."""

from __future__ import annotations

import pytest

from kd_plugins.comparison.report import compare
from kd_plugins.comparison.rounds import behind, differences_of, unsettled
from kd_plugins.runner.run_log import RunLog

pytest.importorskip('scipy')
VALUES = {
    'plain': [0.50, 0.52, 0.54],
    'promising': [0.52, 0.52, 0.57],  # better, and its interval holds 0
    'clear': [0.60, 0.62, 0.64],
    'worse': [0.49, 0.53, 0.52],
}


def result(metric: str = 'AP', against: tuple[str, ...] = (), **others: list[float]) -> dict:
    values = {**VALUES, **others}
    logs = {arm: {seed: RunLog({metric: {3: value}}) for seed, value in enumerate(row)} for arm, row in values.items()}
    return compare(logs, metric, against=against)


def test_only_a_better_and_undecided_arm_and_its_partner_go_on() -> None:
    assert unsettled(result(), [0, 1, 2]) == ['plain', 'promising']


def test_a_lower_error_is_better() -> None:
    assert unsettled(result('NME'), [0, 1, 2]) == ['plain', 'worse']


def test_the_arms_of_against_are_partners_too() -> None:
    found = result(against=('clear',), close=[0.61, 0.62, 0.65])
    assert [(pair[0], pair[1]) for pair in differences_of(found)][-3:] == [
        ('clear', 'promising'), ('clear', 'worse'), ('clear', 'close'),
    ]  # fmt: skip
    assert unsettled(found, [0, 1, 2]) == ['plain', 'promising', 'clear', 'close']


def test_a_pair_waits_for_all_first_seeds() -> None:
    assert unsettled(result(), [0, 1, 2, 3]) == []


def test_one_seed_is_not_followed_by_more() -> None:
    one = {arm: row[:1] for arm, row in VALUES.items()}
    assert unsettled(result(**one), [0]) == []


def test_named_contrasts_alone_decide() -> None:
    found = result(against=('clear',))
    assert unsettled(found, [0, 1, 2], [('promising', 'plain')]) == ['plain', 'promising']
    assert unsettled(found, [0, 1, 2], [('clear', 'plain'), ('worse', 'clear'), ('plain', 'promising')]) == []


def test_arms_with_a_worse_mean_are_behind() -> None:
    assert behind(result(), [0, 1, 2]) == ['worse']
    assert behind(result('NME'), [0, 1, 2]) == ['promising', 'clear']
    assert behind(result(against=('clear',)), [0, 1, 2]) == ['worse']


def test_an_arm_without_all_seeds_or_that_others_are_compared_with_is_not_behind() -> None:
    assert behind(result(early=[0.1, 0.1]), [0, 1, 2]) == ['worse']
    assert behind(result(), [0, 1, 2], {'worse'}) == []
