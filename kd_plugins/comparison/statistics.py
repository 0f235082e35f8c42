"""Mean, standard deviation and paired difference over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError, MissingDependencyError, import_fault


@dataclass(frozen=True)
class Summary:
    """Values of one metric over seeds.

    Attributes:
        mean: Arithmetic mean.
        deviation: Sample standard deviation (n - 1), NaN for one value.
        count: Number of values.
    """

    mean: float
    deviation: float
    count: int


@dataclass(frozen=True)
class Difference:
    """Paired difference between two arms: the second minus the first.

    Attributes:
        mean: Mean difference.
        low: Lower end of the confidence interval, NaN for one pair.
        high: Upper end, NaN for one pair.
        p_value: Two-sided p-value of the paired t-test, NaN for one pair.
        count: Number of pairs.
        deviation: Sample standard deviation of the differences, NaN for one pair.
    """

    mean: float
    low: float
    high: float
    p_value: float
    count: int
    deviation: float = math.nan


def scipy_stats() -> Any:
    """Return the module ``scipy.stats``.

    Raises:
        MissingDependencyError: If SciPy is not installed, or cannot be imported.
    """
    try:
        from scipy import stats
    except ImportError as error:
        fault = import_fault(error, 'scipy')
        raise MissingDependencyError(f"confidence intervals need 'scipy' (extra 'det'), and {fault}") from error
    return stats


def summarize(values: Sequence[float]) -> Summary:
    """Return mean and sample standard deviation.

    Raises:
        ConfigError: If there are no values.

    >>> summarize([1.0, 2.0, 3.0])
    Summary(mean=2.0, deviation=1.0, count=3)
    """
    if not values:
        raise ConfigError('a metric has no values to average; at least one finished run is needed')
    array = np.asarray(values, dtype=float)
    with np.errstate(invalid='ignore'):  # of an infinite value
        deviation = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    return Summary(float(array.mean()), deviation, len(array))


def paired_difference(baseline: Sequence[float], distilled: Sequence[float], confidence: float = 0.95) -> Difference:
    r"""Return the mean difference of pairs with its Student t interval.

    :math:`\bar d \pm t_{n-1,\,(1+c)/2}\; s_d / \sqrt n` with :math:`d_i` the difference at seed i. Pairing
    removes the variation that both arms share at a seed (data order, initial weights).

    Args:
        baseline: One value per seed.
        distilled: One value per seed, in the same order.
        confidence: Coverage of the interval.

    Raises:
        ConfigError: If the two differ in length or are empty.
        MissingDependencyError: If SciPy is not installed.
    """
    if len(baseline) != len(distilled) or not len(baseline):
        raise ConfigError(f'paired values need equal counts, not {len(baseline)} and {len(distilled)}')
    stats = scipy_stats()
    with np.errstate(invalid='ignore'):  # of infinite values
        differences = np.asarray(distilled, dtype=float) - np.asarray(baseline, dtype=float)
    mean, count = float(differences.mean()), len(differences)
    if count < 2:
        return Difference(mean, math.nan, math.nan, math.nan, count)
    with np.errstate(invalid='ignore'):
        deviation = float(differences.std(ddof=1))
    error_of_mean = deviation / math.sqrt(count)
    margin = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error_of_mean
    if error_of_mean == 0:
        p_value = 1.0 if mean == 0 else 0.0
    else:
        p_value = float(2 * stats.t.sf(abs(mean) / error_of_mean, count - 1))
    return Difference(mean, mean - margin, mean + margin, p_value, count, deviation)
