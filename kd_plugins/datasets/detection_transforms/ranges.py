"""Checks of probabilities and ranges in a pipeline."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ConfigError
from ...utils.argument_types import shown


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_probability(key: str, value: Any) -> float:
    """Return a probability.

    Args:
        key: Config key for the error sentence.
        value: Value in the config.

    Raises:
        ConfigError: If it is not a number from 0 to 1.

    >>> check_probability('prob', 1)
    1.0
    """
    if not _is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f'{key} is {shown(value)}; valid: a number from 0 to 1')
    return float(value)


def check_range(key: str, value: Any, lowest: float, highest: float = math.inf) -> tuple[float, float]:
    """Return a range as two floats.

    Args:
        key: Config key for the error sentence.
        value: Value in the config.
        lowest: Lower limit of the range.
        highest: Upper limit of the range.

    Raises:
        ConfigError: If it is not two numbers in order inside the limits.

    >>> check_range('scale', [0, 1], 0.0, 1.0)
    (0.0, 1.0)
    """
    pair = list(value) if isinstance(value, (list, tuple)) else []
    if len(pair) != 2 or not all(map(_is_number, pair)) or not lowest <= pair[0] <= pair[1] <= highest:
        limit = f'from {lowest:g}' + (f' to {highest:g}' if math.isfinite(highest) else ' on')
        raise ConfigError(f'{key} is {shown(value)}; give the least and the largest value, {limit}')
    return float(pair[0]), float(pair[1])
