"""Power of a paired comparison: the smallest true difference that it is likely to show."""

from __future__ import annotations

import math

from ..errors import ConfigError
from .statistics import scipy_stats

POWER, LEVEL = 0.8, 0.05
"""Usual power and significance level."""


def paired_power(effect: float, deviation: float, count: int, level: float = LEVEL) -> float:
    r"""Return the probability that the interval of a paired comparison excludes 0.

    With :math:`n` pairs whose differences have the standard deviation :math:`s` and the true mean :math:`d`, the
    statistic of the two-sided t-test follows a noncentral t distribution with :math:`n - 1` degrees of freedom and the
    noncentrality :math:`\delta = \sqrt{n}\, d / s` (J. Cohen, Statistical Power Analysis for the Behavioral Sciences,
    1988, section 2.3). Both tails count.

    Args:
        effect: :math:`d`, in the unit of the metric.
        deviation: :math:`s`, above 0.
        count: :math:`n`, at least 2.
        level: Significance level; 1 minus the coverage of the interval.

    Raises:
        ConfigError: If an argument is outside its range.
        MissingDependencyError: If SciPy is not installed.

    >>> round(paired_power(1.0, 1.0, 30), 6)
    0.999564
    """
    _check(deviation, count)
    if deviation == 0:
        return 1.0 if effect else level
    stats = scipy_stats()
    freedom, shift = count - 1, math.sqrt(count) * abs(effect) / deviation
    critical = float(stats.t.ppf(1 - level / 2, freedom))
    upper = float(stats.nct.sf(critical, freedom, shift))
    lower = float(stats.nct.cdf(-critical, freedom, shift))
    # Far out in the tail, SciPy returns NaN for a probability that is 0.
    return min(1.0, upper + (0.0 if math.isnan(lower) else lower))


def smallest_effect(deviation: float, count: int, power: float = POWER, level: float = LEVEL) -> float:
    """Return the true difference whose interval excludes 0 with the given probability.

    Args:
        deviation: Standard deviation of the paired differences, in the unit of the metric.
        count: Number of pairs.
        power: The probability, above ``level`` and below 1.
        level: See :func:`paired_power`.

    Returns:
        The difference in the unit of the metric; 0 where the differences do not vary.

    Raises:
        ConfigError: If an argument is outside its range.
        MissingDependencyError: If SciPy is not installed.

    >>> round(smallest_effect(1.0, 3), 2), round(smallest_effect(1.0, 5), 2)
    (3.26, 1.68)
    """
    _check(deviation, count)
    if not level < power < 1:
        raise ConfigError(f'power is {power}; valid: above {level} and below 1, for example {POWER}')
    high = 1.0
    while paired_power(high, 1.0, count, level) < power:
        high *= 2
    from scipy.optimize import brentq  # SciPy is there, or paired_power would have said so

    return deviation * float(brentq(lambda effect: paired_power(effect, 1.0, count, level) - power, 0.0, high))


def _check(deviation: float, count: int) -> None:
    if count < 2:
        raise ConfigError(f'the power of {count} pair is not defined; nearest: 2 seeds')
    if not (deviation >= 0 and math.isfinite(deviation)):
        raise ConfigError(f'the standard deviation of the differences is {deviation}; valid: a number of 0 or more')
