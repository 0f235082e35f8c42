import math
import sys
from types import ModuleType

import numpy as np
import pytest

from kd_plugins.comparison.statistics import paired_difference, scipy_stats, summarize
from kd_plugins.errors import ConfigError, MissingDependencyError

stats = pytest.importorskip('scipy.stats')


@pytest.mark.parametrize('count', [2, 3, 8])
def test_interval_and_p_value_equal_scipys_paired_t_test(count):
    generator = np.random.default_rng(count)
    first, second = generator.normal(0.5, 0.01, count), generator.normal(0.52, 0.01, count)
    expected = stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    found = paired_difference(list(first), list(second))
    assert found.mean == pytest.approx(np.mean(second - first))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_one_pair_has_a_difference_and_no_interval():
    found = paired_difference([0.5], [0.6])
    assert found.mean == pytest.approx(0.1)
    assert math.isnan(found.low) and math.isnan(found.p_value)


def test_equal_differences_give_an_interval_of_no_width():
    found = paired_difference([1.0, 2.0], [2.0, 3.0])
    assert (found.low, found.high, found.p_value) == (1.0, 1.0, 0.0)


def test_spread_is_the_sample_standard_deviation():
    assert summarize([1.0, 3.0]).deviation == pytest.approx(math.sqrt(2))
    assert math.isnan(summarize([1.0]).deviation)


def test_unequal_counts_are_refused():
    with pytest.raises(ConfigError, match='equal counts'):
        paired_difference([1.0], [1.0, 2.0])


def test_a_scipy_that_does_not_work_is_not_called_missing(monkeypatch):
    broken = ModuleType('scipy')
    monkeypatch.setitem(sys.modules, 'scipy', broken)
    monkeypatch.delitem(sys.modules, 'scipy.stats', raising=False)
    with pytest.raises(MissingDependencyError, match="need 'scipy' .extra 'det'., and scipy cannot be imported"):
        scipy_stats()
    monkeypatch.setitem(sys.modules, 'scipy', None)
    with pytest.raises(MissingDependencyError, match="need 'scipy' .extra 'det'., and 'scipy' is not installed"):
        scipy_stats()
