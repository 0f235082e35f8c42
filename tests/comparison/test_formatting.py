"""Numbers as text."""

from __future__ import annotations

import math

import pytest

from kd_plugins.comparison.formatting import difference, excludes_zero, interval, number, seed_range, spread, visible

pytest.importorskip('scipy')
POINTS = {'points': ['AP']}
CLEAR = {'mean': 0.02, 'low': 0.01, 'high': 0.03, 'deviation': 0.004, 'count': 3}
OPEN = {**CLEAR, 'low': -0.01}
ONE = {'mean': 0.02, 'low': None, 'high': None, 'deviation': None, 'count': 1}


def test_points_are_hundredths_with_two_digits() -> None:
    assert number({}, 'AP', 0.12345) == '0.1235' and number(POINTS, 'AP', 0.12345) == '12.35'
    assert number(POINTS, 'NME', 0.12345) == '0.1235'
    assert spread(POINTS, 'AP', {'mean': 0.5, 'deviation': 0.01}) == '50.00 ± 1.00'


def test_no_zero_is_negative() -> None:
    assert number({}, 'AP', -0.00001, signed=True) == '+0.0000'


@pytest.mark.parametrize('missing', [None, math.nan, math.inf])
def test_a_run_that_diverged_has_no_number(missing: float | None) -> None:
    """JSON holds None for NaN."""
    change = dict.fromkeys(('mean', 'low', 'high', 'deviation'), missing) | {'count': 3}
    assert number(POINTS, 'AP', missing) == spread({}, 'AP', change) == difference(POINTS, 'AP', change) == 'no number'
    assert interval({}, 'AP', change) == visible({}, 'AP', change) == ''


def test_an_interval_that_excludes_zero_is_bold() -> None:
    assert difference(POINTS, 'AP', CLEAR) == '**+2.00 [+1.00, +3.00]**'
    assert difference(POINTS, 'AP', OPEN) == '+2.00 [-1.00, +3.00]'
    assert not excludes_zero(OPEN) and excludes_zero({**CLEAR, 'low': -0.03, 'high': -0.01})


@pytest.mark.parametrize('missing', [None, math.nan])
def test_one_pair_has_neither_interval_nor_power(missing: float | None) -> None:
    one = {**ONE, 'low': missing, 'high': missing, 'deviation': missing}
    assert interval({}, 'AP', one) == 'one seed' and visible({}, 'AP', one) == '' and not excludes_zero(one)
    assert spread({}, 'AP', {'mean': 0.5, 'deviation': missing}) == '0.5000' and spread({}, 'AP', None) == ''


def test_the_smallest_visible_effect_is_in_the_unit_of_the_row() -> None:
    # 3.264 standard deviations with three pairs.
    assert visible({}, 'AP', CLEAR) == '0.0131' and visible(POINTS, 'AP', CLEAR) == '1.31'


def test_equal_differences_tell_no_power() -> None:
    equal = {'mean': 0.0, 'low': 0.0, 'high': 0.0, 'deviation': 1e-17, 'count': 3}
    assert visible(POINTS, 'AP', equal) == visible({}, 'AP', {**equal, 'deviation': 0.0}) == ''


def test_seeds_in_a_row_are_a_range() -> None:
    assert seed_range([4, 3]) == '3, 4' and seed_range([7, 0, 1, 2]) == '0 to 2, 7' and seed_range([]) == ''
