"""Rules about the seeds of arms: further ones where a gain is undecided, none for an arm that has fallen behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .formatting import lower_is_better


def next_seeds(seeds: Sequence[int], count: int = 2) -> list[int]:
    """Return the integers after the largest seed.

    >>> next_seeds([0, 1, 2])
    [3, 4]
    """
    return [max(seeds) + 1 + index for index in range(count)]


def is_undecided(mean: float, low: float) -> bool:
    """Return whether a difference has a mean above 0 and an interval that holds 0.

    Args:
        mean: Mean, positive where the hypothesis predicts.
        low: Lower end of the interval.

    >>> is_undecided(0.2, -0.1), is_undecided(0.2, 0.1), is_undecided(-0.1, -0.3)
    (True, False, False)
    """
    return mean > 0 >= low


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
        contrasts: Pairs of an arm and its reference that decide, each for its own two arms; ``None`` for all pairs.
    """
    sign = -1.0 if lower_is_better(result['metric']) else 1.0
    needed: list[str] = []
    for reference, arm, change in differences_of(result):
        if contrasts is not None and (arm, reference) not in contrasts:
            continue
        low = sign * change['low' if sign > 0 else 'high']
        if list(change['seeds']) == sorted(seeds) and is_undecided(sign * change['mean'], low):
            needed += [reference, arm]
    return [arm for arm in result['arms'] if arm in needed]


def behind(result: Mapping[str, Any], seeds: Sequence[int], kept: Collection[str] = ()) -> list[str]:
    """Return the arms whose mean is on the wrong side of the baseline's after some seeds.

    Args:
        result: Of :func:`~kd_plugins.comparison.report.compare`, over these seeds.
        seeds: The seeds; an arm that has not finished them all with the baseline is not judged.
        kept: Arms that are never behind, because others are compared with them.
    """
    sign = -1.0 if lower_is_better(result['metric']) else 1.0
    return [
        arm
        for reference, arm, change in differences_of(result)
        if reference == result['baseline'] and arm not in kept
        if list(change['seeds']) == sorted(seeds) and sign * change['mean'] < 0
    ]
