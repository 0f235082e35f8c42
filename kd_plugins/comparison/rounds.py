"""Further seeds for the arms whose first seeds leave a gain undecided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .formatting import lower_is_better
from .protocol import undecided


def next_seeds(seeds: Sequence[int], count: int = 2) -> list[int]:
    """Return the integers after the largest seed.

    >>> next_seeds([0, 1, 2])
    [3, 4]
    """
    return [max(seeds) + 1 + index for index in range(count)]


def differences_of(result: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield reference, arm and difference of the main metric for every pair of arms that is compared."""
    base, metric = result['baseline'], result['metric']
    for arm, table in result['arms'].items():
        if arm != base:
            yield base, arm, table[metric]['difference']
    for reference, arms in result['against'].items():
        for arm, table in arms.items():
            yield reference, arm, table[metric]


def unsettled(
    result: Mapping[str, Any], seeds: Sequence[int], contrasts: Sequence[tuple[str, str]] | None = None
) -> list[str]:
    """Return the arms that need further seeds, because a better mean has an interval that holds 0.

    Args:
        result: Of :func:`~kd_plugins.comparison.report.compare`, over the first seeds.
        seeds: The first seeds; a pair that has not finished them all waits.
        contrasts: Pairs of an arm and its reference that decide for all arms at once; with ``None`` every pair decides
            for its own two arms.
    """
    sign = -1.0 if lower_is_better(result['metric']) else 1.0
    needed: list[str] = []
    for reference, arm, change in differences_of(result):
        ends = sorted(sign * change[key] for key in ('low', 'high'))
        if contrasts is not None and (arm, reference) not in contrasts:
            continue
        if list(change['seeds']) == sorted(seeds) and undecided([(sign * change['mean'], ends[0], ends[1])]):
            needed += [reference, arm] if contrasts is None else list(result['arms'])
    return [arm for arm in result['arms'] if arm in needed]
