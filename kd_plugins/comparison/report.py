"""Report of a comparison over seeds: numbers, Markdown and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, nearest
from ..runner.run_log import RunLog, Series
from ..utils.checks import check_choice
from ..utils.figures import new_figure
from ..utils.tables import markdown_table
from .formatting import excludes_zero, interval, is_number, label, lower_is_better, number, spread, visible
from .statistics import paired_difference, summarize

Logs = Mapping[str, Mapping[int, RunLog]]
"""Arm (baseline first) to seed to log."""
Finals = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Arm to seed to metric to value."""

VALIDATED, TESTED = 'last validation', 'test of the last checkpoint'


def order_metrics(metrics: Sequence[str], main: str) -> list[str]:
    """Return the main metric first, then the others, then the classes (``coco/NAME_precision``), each in logged order.

    >>> order_metrics(['coco/RBC_precision', 'coco/bbox_mAP_50', 'coco/bbox_mAP'], 'coco/bbox_mAP')
    ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/RBC_precision']
    """
    return sorted(metrics, key=lambda name: (name != main, name.endswith('_precision')))


def last_value(series: Series) -> float:
    """Return the value at the last step."""
    return series[max(series)]


def best_value(metric: str, series: Series) -> float:
    """Return the best finite value over all steps, or NaN."""
    finite = [value for value in series.values() if math.isfinite(value)]
    return (min if lower_is_better(metric) else max)(finite, default=math.nan)


def compare(logs: Logs, main: str, tested: Finals | None = None, against: Sequence[str] = ()) -> dict[str, Any]:
    """Compare every arm with the first over the seeds that both have.

    Where the first arm has no finished seed in common with another one, the first of ``against`` that has one is the
    baseline in its place.

    Args:
        logs: Arm, baseline first, to seed to log.
        main: The metric that heads the table.
        tested: Metrics of ``kd_plugins test`` on the last checkpoint, in place of those of the last validation.
        against: Other arms to compare with.

    Returns:
        A dict with ``baseline``, ``metric``, ``source``, ``seeds`` of the baseline, ``seeds_of`` each arm and, under
        ``arms``, for each arm and metric the values, mean and sample standard deviation of the last and the best
        epoch, with the paired difference. ``against`` holds, for each of these arms and every other arm but the
        baseline, the differences by metric, each with the numbers of both over its seeds as ``arms``.

    Raises:
        ConfigError: If no seed is finished in a baseline and another arm, the main metric was not logged, or there
            is no arm of a name in ``against``.
    """
    for name in against:
        check_choice('--against', name, list(logs)[1:])
    finals: Finals = tested or {
        arm: {seed: {name: last_value(series) for name, series in log.metrics.items()} for seed, log in runs.items()}
        for arm, runs in logs.items()
    }
    first, seeds = _first_pairs(finals, [next(iter(logs)), *against])
    seeds = {first: sorted(set().union(*seeds.values())), **seeds}
    rows = [finals[arm][seed] for arm, own in seeds.items() for seed in own]
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    if main not in shared:
        raise ConfigError(f"--metric: '{main}' is not in the logs of every run; {nearest(main, shared)}")
    metrics = order_metrics(shared, main)

    def change(reference: str, arm: str, name: str) -> dict[str, Any]:
        both = [
            seed
            for seed in sorted(set(finals[reference]) & set(finals[arm]))
            if name in finals[reference][seed] and name in finals[arm][seed]
        ]
        base, values = ([finals[side][seed][name] for seed in both] for side in (reference, arm))
        difference = {**vars(paired_difference(base, values)), 'seeds': both}
        # Two arms can share a seed that the baseline lacks, which is in no row of theirs.
        return (
            difference
            if reference == first
            else {**difference, 'arms': [vars(summarize(base)), vars(summarize(values))]}
        )

    result: dict[str, Any] = {
        'seeds': seeds[first],
        'baseline': first,
        'metric': main,
        'source': TESTED if tested else VALIDATED,
        'seeds_of': seeds,
        'arms': {},
    }
    for arm, own in seeds.items():
        table: dict[str, Any] = {}
        for name in metrics:
            # COCO evaluation gives -1 for a class without objects.
            entry: dict[str, Any] = {'last': _numbers([finals[arm][seed][name] for seed in own])}
            curves = [logs[arm][seed].metrics.get(name) for seed in own]
            if all(curves):
                entry['best'] = _numbers([best_value(name, series) for series in curves if series])
            if arm != first:
                entry['difference'] = change(first, arm, name)
            table[name] = entry
        result['arms'][arm] = table
    result['against'] = {
        reference: {
            arm: {name: change(reference, arm, name) for name in metrics}
            for arm in seeds
            if arm not in (first, reference) and set(finals[reference]) & set(finals[arm])
        }
        for reference in against
        if reference in seeds and reference != first
    }
    return result


def _first_pairs(finals: Finals, references: Sequence[str]) -> tuple[str, dict[str, list[int]]]:
    """Return the first reference that shares a seed with another arm, and the shared seeds of each such arm."""
    for first in references:
        pairs = {arm: sorted(set(own) & set(finals[first])) for arm, own in finals.items() if arm != first}
        seeds = {arm: shared for arm, shared in pairs.items() if shared}
        if seeds:
            return first, seeds
    raise ConfigError(
        'no seed is finished in the baseline and another arm yet, so nothing can be compared; run the missing '
        'trainings first'
    )


def _numbers(values: list[float]) -> dict[str, Any]:
    return {'values': values, **vars(summarize(values))}


def paired_entry(result: Mapping[str, Any], arm: str, name: str, kind: str) -> dict[str, Any] | None:
    """Return the numbers of the baseline over the seeds that it shares with an arm.

    Args:
        result: Of :func:`compare`.
        arm: The arm.
        name: The metric.
        kind: ``'last'`` or ``'best'``.
    """
    base = result['arms'][result['baseline']][name].get(kind)
    if base is None:
        return None
    values = dict(zip(result['seeds'], base['values']))
    return _numbers([values[seed] for seed in result['seeds_of'][arm]])


def table_of(result: Mapping[str, Any], arm: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows that compare one arm with the baseline."""
    epoch = 'best epoch' if result['source'] == VALIDATED else 'best epoch in validation'
    headers = ['metric', 'baseline', arm, 'difference', '95 % interval', f'baseline, {epoch}', f'{arm}, {epoch}']
    rows = []
    for name, entry in result['arms'][arm].items():
        change = entry['difference']
        rows.append(
            [
                label(name),
                spread(result, name, paired_entry(result, arm, name, 'last')),
                spread(result, name, entry['last']),
                number(result, name, change['mean'], True),
                interval(result, name, change),
                spread(result, name, paired_entry(result, arm, name, 'best')),
                spread(result, name, entry.get('best')),
            ]
        )
    return headers, rows


def verdict(result: Mapping[str, Any], arm: str, reference: str | None = None) -> str:
    """Return one sentence about the main metric: the gain, the spread between seeds, and the interval.

    Args:
        result: Of :func:`compare`.
        arm: The arm.
        reference: The arm to compare it with, one of ``against``; ``None`` for the baseline.
    """
    name = result['metric']
    entry = result['arms'][arm][name]
    if reference is None:
        reference, change = result['baseline'], entry['difference']
        sides = [paired_entry(result, arm, name, 'last') or entry['last'], entry['last']]
    else:
        change = result['against'][reference][arm][name]
        sides = change.get('arms') or [result['arms'][side][name]['last'] for side in (reference, arm)]
    count = change['count']
    if not is_number(change['mean']):
        return f'{arm} cannot be compared with {reference}, because a run of one of them has no number for {name}'
    gain = -change['mean'] if lower_is_better(name) else change['mean']
    word = f'better than {reference} by' if gain > 0 else f'worse than {reference} by'
    if gain == 0:
        word = f'no different from {reference}:'
    text = f'{arm} is {word} {number(result, name, abs(gain))} {name}'
    text += f' over {count} seed{"s" if count > 1 else ""}'
    if count < 2:
        return f'{text}; one seed cannot show the effect of chance'
    widest = max((one['deviation'] for one in sides if is_number(one['deviation'])), default=0.0)
    size = 'more' if abs(gain) > widest else 'not more'
    zero = 'excludes' if excludes_zero(change) else 'includes'
    sees = visible(result, name, change)
    power = f'a comparison of this size sees {sees} or more with a power of 80 %'
    if not sees:
        power = 'the differences are equal at all seeds, so their spread tells nothing about the power'
    return (
        f'{text}: {size} than the spread between seeds ({number(result, name, widest)}), and the 95 % interval {zero} '
        f'0; {power}'
    )


def shown_against(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the differences to the arms beside the baseline, each pair of arms once, under the arm named first.

    Where the result names ``contrasts``, the pairs that a protocol asks for, no other pair is shown: every further
    interval is one more chance to exclude 0 by chance.

    >>> against = {'a': {'b': 1, 'c': 2}, 'b': {'a': -1, 'c': 3}}
    >>> shown_against({'against': against})
    {'a': {'b': 1, 'c': 2}, 'b': {'c': 3}}
    >>> shown_against({'against': against, 'contrasts': [['c', 'a'], ['c', 'plain']]})
    {'a': {'c': 2}}
    """
    wanted = result.get('contrasts')
    shown: dict[str, dict[str, Any]] = {}
    for reference, arms in result['against'].items():
        shown[reference] = {
            arm: change
            for arm, change in arms.items()
            if reference not in shown.get(arm, {}) and (wanted is None or [arm, reference] in wanted)
        }
    return {reference: arms for reference, arms in shown.items() if arms}


def seeds_text(result: Mapping[str, Any]) -> str:
    """Return the seeds of a comparison, and those of the arms that have other ones."""
    text = ', '.join(map(str, result['seeds']))
    others = [f'{arm}: {", ".join(map(str, own))}' for arm, own in result['seeds_of'].items() if own != result['seeds']]
    return f'{text} ({"; ".join(others)})' if others else text


def markdown(result: Mapping[str, Any], title: str, configs: Mapping[str, str], curves: str | None = None) -> str:
    """Return the report as a Markdown page."""
    parts = [f'# {title}']
    for arm in list(result['arms'])[1:]:
        sentences = [verdict(result, arm)]
        sentences += [verdict(result, arm, other) for other, arms in shown_against(result).items() if arm in arms]
        parts += [f'## {arm}', *[f'{text}.' for text in sentences], markdown_table(*table_of(result, arm))]
    parts.append(
        f'Values of the {result["source"]}, mean ± sample standard deviation over the seeds '
        f'{seeds_text(result)}; differences are paired by seed, with a Student t interval. '
        'The best epoch is chosen by the very values that are reported of it, so it flatters both.'
    )
    parts.append('\n'.join(f'- {arm}: `{path}`' for arm, path in configs.items()))
    if curves:
        parts.append(f'![{result["metric"]} by step]({curves})')
    parts.append('`results.json` holds every value, `logs/` the metrics and losses of each run (`zcat` shows them).')
    return '\n\n'.join(parts) + '\n'


def band(runs: Sequence[Series]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return the common steps of all runs, and the mean and sample standard deviation there (0 for one run)."""
    steps = sorted(set.intersection(*[set(series) for series in runs])) if runs else []
    values = np.array([[series[step] for step in steps] for series in runs], dtype=float)
    deviation = values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(len(steps))
    return steps, values.mean(axis=0), deviation


def plot_curves(logs: Logs, metrics: Sequence[str], path: str | Path) -> None:
    """Draw one panel per metric, with the mean of all runs of an arm as a line and one standard deviation as a band.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    figure = new_figure(5.2 * len(metrics), 3.8)
    for index, metric in enumerate(metrics):
        axes = figure.add_subplot(1, len(metrics), index + 1)
        for arm, runs in logs.items():
            curves = [log.metrics[metric] for log in runs.values() if metric in log.metrics]
            if not curves:
                continue
            steps, mean, deviation = band(curves)
            (line,) = axes.plot(steps, mean, label=arm, marker='.' if len(steps) < 40 else None)
            axes.fill_between(steps, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set_xlabel('epoch or iteration')
        axes.set_title(label(metric))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
