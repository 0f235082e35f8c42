"""Pairs of student and teacher in finished comparisons, with the measured gain of the distillation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from ..config.hook_entries import distill_entry
from ..config.loading import class_name, load_config
from ..errors import KDPluginsError
from ..teachers.collection import teacher_configs
from .formatting import is_number, lower_is_better
from .statistics import scipy_stats

OWN = ('EMATeacher', 'SnapshotTeacher')
"""Teachers with the structure of the student."""


@dataclass(frozen=True)
class TaughtPair:
    """A student, a teacher and what the teacher's arms gained.

    Attributes:
        student: Path of the student's config, the baseline.
        teacher: Path of the teacher's config; the student's where its own average teaches.
        gain: Mean gain of the arms in percent of the baseline's mean, positive where the metric improves.
        arms: ``RESULT/ARM`` of each of them.
    """

    student: str
    teacher: str
    gain: float
    arms: tuple[str, ...]


def taught_pairs(files: Sequence[Path]) -> list[TaughtPair]:
    """Return the pairs in the results of comparisons, with the gain in the main metric of each.

    Arms with one teacher and a number in every run count: a frozen one with a config file, or the student's own
    average or snapshot. Random teachers and arms whose config cannot be read any more are left out.

    Args:
        files: ``results.json`` of comparisons.
    """
    gains: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for path in files:
        values = json.loads(path.read_text(encoding='utf-8'))
        base, metric = values['baseline'], values['metric']
        student = values['configs'][base]
        mean = values['arms'][base][metric]['last']['mean']
        for arm, table in values['arms'].items():
            teacher = None if arm == base else teacher_of(values['configs'][arm], student)
            if teacher is None or not mean:
                continue
            difference = table[metric]['difference']['mean']
            if not is_number(difference) or not is_number(mean):
                continue  # a run diverged
            change = difference * (-1 if lower_is_better(metric) else 1)
            gains.setdefault((student, teacher), []).append((100 * change / abs(mean), f'{path.parent.name}/{arm}'))
    return [
        TaughtPair(*pair, sum(gain for gain, _ in own) / len(own), tuple(name for _, name in own))
        for pair, own in gains.items()
    ]


def teacher_of(path: str, student: str) -> str | None:
    """Return the config of the only teacher of an arm, ``None`` where there is none that could be scored.

    Args:
        path: Config of the arm.
        student: Config of the baseline.
    """
    try:
        config = load_config(path)
    except KDPluginsError:
        return None
    teachers: list[dict[str, Any]] = list(teacher_configs(distill_entry(config) or {}).values())
    if len(teachers) != 1:
        return None
    (teacher,) = teachers
    if class_name(teacher) in OWN:
        return student
    known = class_name(teacher) == 'FrozenTeacher' and teacher.get('checkpoint') is not None
    return teacher['config'] if known and isinstance(teacher['config'], str) else None


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return Spearman's rank correlation and its two-sided p-value, both NaN with less than three pairs.

    The p-value comes from all permutations with up to 8 pairs, and from Student's t distribution with more.

    Args:
        first: Values of each pair.
        second: Other values of each pair, in the same order.

    Raises:
        MissingDependencyError: If SciPy is not installed.

    >>> rank_correlation([1, 2, 3, 4], [10, 30, 20, 40])
    (0.8, 0.333)
    """
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return math.nan, math.nan
    stats = scipy_stats()
    ranks = stats.rankdata(first), stats.rankdata(second)
    rho = float(np.corrcoef(*ranks)[0, 1])
    if len(first) <= 8:
        found = [float(np.corrcoef(ranks[0], order)[0, 1]) for order in permutations(ranks[1])]
        p_value = sum(abs(one) >= abs(rho) - 1e-9 for one in found) / len(found)
    else:
        p_value = float(stats.spearmanr(first, second).pvalue)
    return round(rho, 3), round(p_value, 3)
