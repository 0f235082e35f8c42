"""Power of a paired comparison against values of other programs and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from kd_plugins.comparison.power import paired_power, smallest_effect
from kd_plugins.comparison.statistics import paired_difference
from kd_plugins.errors import ConfigError

pytest.importorskip('scipy')

# One-sample t-test, two-sided, level 0.05, by R's pwr.t.test, as statsmodels' own test holds them
# (statsmodels/stats/tests/test_power.py, TestTTPowerOneS1 and TestTTPowerOneS2, at 01143c5). Of the second value the
# two packages agree to seven digits.
PWR = [(1.0, 30, 0.9995636009612725), (0.2, 20, 0.1359562887679666)]
# Least numbers of pairs for 80 % power at 5 %, two-sided, by effect in standard deviations of the differences, as in
# the tables of G*Power (difference between two dependent means).
LEAST_PAIRS = [(0.2, 199), (0.5, 34), (0.8, 15)]


@pytest.mark.parametrize(('effect', 'count', 'power'), PWR)
def test_power_equals_that_of_pwr_and_statsmodels(effect: float, count: int, power: float) -> None:
    assert paired_power(effect, 1.0, count) == pytest.approx(power, abs=5e-8)
    assert paired_power(-3 * effect, 3.0, count) == pytest.approx(power, abs=5e-8)  # sign and unit do not matter
    assert smallest_effect(2.0, count, power) == pytest.approx(2.0 * effect, rel=1e-5)


@pytest.mark.parametrize(('effect', 'count'), LEAST_PAIRS)
def test_numbers_of_pairs_equal_published_tables(effect: float, count: int) -> None:
    assert paired_power(effect, 1.0, count) >= 0.8 > paired_power(effect, 1.0, count - 1)


@pytest.mark.parametrize('count', [3, 5])
def test_four_of_five_simulated_comparisons_see_the_smallest_effect(count: int) -> None:
    effect = smallest_effect(0.4, count)
    draws = np.random.default_rng(count).normal(effect, 0.4, (1500, count))
    seen = [paired_difference([0.0] * count, list(row)) for row in draws]
    assert np.mean([one.low > 0 or one.high < 0 for one in seen]) == pytest.approx(0.8, abs=0.03)


def test_no_effect_is_seen_at_the_level() -> None:
    assert paired_power(0.0, 1.0, 4, level=0.1) == pytest.approx(0.1)


def test_differences_that_do_not_vary() -> None:
    assert smallest_effect(0.0, 3) == 0.0 and paired_power(0.1, 0.0, 3) == 1.0


def test_large_effects_and_two_pairs_are_finite() -> None:
    assert paired_power(1000.0, 1.0, 3) == 1.0
    assert smallest_effect(1.0, 2) == pytest.approx(11.54989, rel=1e-5)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ((1.0, 1), 'the power of 1 pair is not defined; nearest: 2 seeds'),
        ((float('nan'), 3), 'standard deviation of the differences is nan'),
        ((1.0, 3, 0.04), 'power is 0.04; valid: above 0.05 and below 1'),
    ],
)
def test_arguments_out_of_range_are_one_sentence(arguments: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        smallest_effect(*arguments)  # type: ignore[arg-type]
