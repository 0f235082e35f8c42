"""Numbers of a comparison as text: values, spreads, differences and intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from .power import smallest_effect

NO_NUMBER = 'no number'
"""Text in place of a value, or of a mean over runs, that is NaN, as after a run that diverged."""

ERRORS = ('error', 'errors', 'loss', 'losses', 'nme', 'epe', 'mpjpe', 'mae', 'mse', 'hd95')
"""Ends of a word in the name of a metric whose lower value is better."""
ERRORS_OF_BOXES = ('mate', 'mase', 'maoe', 'mave', 'maae')
"""Such words of nuScenes."""
ERRORS_OF_OTHERS = ('abs_rel', 'sq_rel', 'log10', 'silog', 'mrrpe', 'mmr')
"""Last parts of names of errors that tell it by no ending: of depth in MMSegmentation, of hands in MMPose, and the miss
rate of CrowdHuman in MMDetection."""


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number; JSON holds ``None`` for NaN.

    >>> is_number(0.5), is_number(None), is_number(float('nan')), is_number(float('inf'))
    (True, False, False, False)
    """
    return value is not None and math.isfinite(value)


def lower_is_better(metric: str) -> bool:
    """Return whether a lower value of a metric is better; the AP of a class never is, whatever its name.

    >>> lower_is_better('NME'), lower_is_better('coco/bbox_mAP'), lower_is_better('coco/ornament_error_precision')
    (True, False, False)
    >>> lower_is_better('abs_rel'), lower_is_better('crowd_human/mMR'), lower_is_better('rel')
    (True, True, False)
    >>> lower_is_better('P-MPJPE'), lower_is_better('volume/hd95_left'), lower_is_better('assignment/recall')
    (True, True, False)
    """
    if metric.endswith('_precision'):
        return False
    if re.split('[^a-z0-9_]+', metric.lower())[-1] in ERRORS_OF_OTHERS:
        return True
    return any(word.endswith(ERRORS) or word in ERRORS_OF_BOXES for word in re.split('[^a-z0-9]+', metric.lower()))


def label(metric: str) -> str:
    """Return the name of a metric in the tables.

    >>> label('coco/RBC_precision'), label('coco/bbox_mAP_50')
    ('AP of RBC', 'coco/bbox_mAP_50')
    """
    return f'AP of {metric.split("/", 1)[-1].removesuffix("_precision")}' if metric.endswith('_precision') else metric


def number(result: Mapping[str, Any], metric: str, value: float | None, signed: bool = False) -> str:
    """Return a value of a metric as text, as points where the comparison shows it so.

    Args:
        result: Of :func:`~kd_plugins.comparison.report.compare`.
        metric: The metric.
        value: The value, or a difference of two values; NaN or ``None`` gives :data:`NO_NUMBER`.
        signed: Whether a plus sign stands before a value above 0.

    >>> number({'points': ['AP']}, 'AP', 0.0123, signed=True), number({}, 'AP', 0.0123)
    ('+1.23', '0.0123')
    """
    if not is_number(value):
        return NO_NUMBER
    factor, digits = (100, 2) if metric in result.get('points', ()) else (1, 4)
    # A difference that rounds to zero is shown without a sign of its own.
    rounded = round(value * factor, digits) + 0.0
    return f'{rounded:{"+" if signed else ""}.{digits}f}'


def spread(result: Mapping[str, Any], metric: str, entry: Mapping[str, Any] | None) -> str:
    """Return mean and standard deviation of a row, empty without a row."""
    if entry is None:
        return ''
    deviation = f' ± {number(result, metric, entry["deviation"])}' if is_number(entry['deviation']) else ''
    return f'{number(result, metric, entry["mean"])}{deviation}'


def interval(result: Mapping[str, Any], metric: str, change: Mapping[str, Any]) -> str:
    """Return the confidence interval of a difference, empty where the difference is no number."""
    if not is_number(change['mean']):
        return ''
    if not is_number(change['low']):
        return 'one seed'
    return f'[{number(result, metric, change["low"], True)}, {number(result, metric, change["high"], True)}]'


def excludes_zero(change: Mapping[str, Any]) -> bool:
    """Return whether the interval of a difference lies on one side of 0."""
    return is_number(change['low']) and (change['low'] > 0 or change['high'] < 0)


def difference(result: Mapping[str, Any], metric: str, change: Mapping[str, Any]) -> str:
    """Return a difference with its interval, in bold where the interval excludes 0."""
    text = f'{number(result, metric, change["mean"], True)} {interval(result, metric, change)}'.strip()
    return f'**{text}**' if excludes_zero(change) else text


def visible(result: Mapping[str, Any], metric: str, change: Mapping[str, Any]) -> str:
    """Return the smallest effect that a row sees with a probability of 80 %.

    It is empty for one pair, and where it is 0 to the shown digits: pairs that all differ by the same do not tell the
    spread by which another difference would be judged.
    """
    if not is_number(change['deviation']):
        return ''
    text = number(result, metric, smallest_effect(change['deviation'], change['count']))
    return text if float(text) else ''


def seed_range(seeds: Iterable[int]) -> str:
    """Return seeds as text.

    >>> seed_range([0, 1, 2, 5]), seed_range([3])
    ('0 to 2, 5', '3')
    """
    ordered = sorted(seeds)
    runs: list[list[int]] = []
    for seed in ordered:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    words = []
    for run in runs:
        words += [f'{run[0]} to {run[-1]}'] if len(run) > 2 else [str(seed) for seed in run]
    return ', '.join(words)
