"""Power of a planned comparison, by the spread of an earlier one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..errors import ConfigError, nearest
from .power import smallest_effect
from .statistics import paired_difference


def pilot_sentence(path: str, metric: str, count: int) -> str:
    """Return one sentence about the smallest effect that a planned comparison sees, without its full stop.

    Args:
        path: ``results.json`` of an earlier comparison, or its folder.
        metric: The metric.
        count: Number of planned seeds.

    Raises:
        ConfigError: If the file cannot be read, lacks the metric, or has a single seed.
    """
    deviation, freedom = pilot_deviation(path, metric)
    effect = smallest_effect(deviation, count)
    return (
        f'with {count} seeds this comparison sees a difference of {effect:.4f} {metric} or more (80 % power at 5 %), '
        f"by the standard deviation {deviation:.4f} of the differences in '{path}' ({freedom} degrees of freedom)"
    )


def pilot_deviation(path: str, metric: str) -> tuple[float, int]:
    """Return the standard deviation of the paired differences, pooled over all arms, and its degrees of freedom.

    Args:
        path: See :func:`pilot_sentence`.
        metric: The metric.

    Raises:
        ConfigError: See :func:`pilot_sentence`.
    """
    file = Path(path) / 'results.json' if Path(path).is_dir() else Path(path)
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding='utf-8'))
        base, arms = values['baseline'], dict(values['arms'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--pilot: '{file}' cannot be read as results.json of a comparison: {error!r}") from error
    if metric not in arms[base]:
        raise ConfigError(f"--pilot: '{file}' has no metric '{metric}'; {nearest(metric, arms[base])}")
    seeds_of = values.get('seeds_of') or dict.fromkeys(arms, values['seeds'])
    columns = {arm: dict(zip(seeds_of[arm], table[metric]['last']['values'])) for arm, table in arms.items()}
    squares, freedom = 0.0, 0
    for arm, column in columns.items():
        both = [seed for seed in column if seed in columns[base]]
        if arm != base and len(both) > 1:
            change = paired_difference([columns[base][seed] for seed in both], [column[seed] for seed in both])
            squares += (change.count - 1) * change.deviation**2
            freedom += change.count - 1
    if not freedom:
        raise ConfigError(f"--pilot: '{file}' has no arm with two seeds or more, so the spread is unknown")
    return math.sqrt(squares / freedom), freedom
