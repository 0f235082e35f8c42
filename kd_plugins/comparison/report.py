"""Report of a comparison over seeds: numbers, Markdown and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, MissingDependencyError, nearest
from ..runner.run_log import RunLog, Series
from ..utils.tables import markdown_table
from .statistics import paired_difference, summarize

Logs = Mapping[str, Mapping[int, RunLog]]
"""Arm (baseline first) to seed to log."""
Finals = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Arm to seed to metric to value."""

VALIDATED, TESTED = 'last validation', 'test of the last checkpoint'


def lower_is_better(metric: str) -> bool:
    """Return whether a lower value of a metric is better.

    >>> lower_is_better('NME'), lower_is_better('coco/bbox_mAP')
    (True, False)
    """
    return any(word in metric.lower() for word in ('error', 'loss', 'nme', 'epe', 'mpjpe', 'mae', 'rmse', 'hd95'))


def order_metrics(metrics: Sequence[str], main: str) -> list[str]:
    """Return the main metric first, then the others, then the classes (``coco/NAME_precision``), each in logged order.

    >>> order_metrics(['coco/RBC_precision', 'coco/bbox_mAP_50', 'coco/bbox_mAP'], 'coco/bbox_mAP')
    ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/RBC_precision']
    """
    return sorted(metrics, key=lambda name: (name != main, name.endswith('_precision')))


def label(metric: str) -> str:
    """Return the name of a metric in the tables.

    >>> label('coco/RBC_precision'), label('coco/bbox_mAP_50')
    ('AP of RBC', 'coco/bbox_mAP_50')
    """
    return f'AP of {metric.split("/", 1)[-1].removesuffix("_precision")}' if metric.endswith('_precision') else metric


def last_value(series: Series) -> float:
    """Return the value at the last step."""
    return series[max(series)]


def best_value(metric: str, series: Series) -> float:
    """Return the best finite value over all steps, or NaN."""
    finite = [value for value in series.values() if math.isfinite(value)]
    return (min if lower_is_better(metric) else max)(finite, default=math.nan)


def common_seeds(logs: Logs) -> list[int]:
    """Return the seeds that all arms have."""
    sets = [set(runs) for runs in logs.values()]
    return sorted(set.intersection(*sets)) if sets else []


def compare(logs: Logs, main: str, tested: Finals | None = None) -> dict[str, Any]:
    """Compare every arm with the first over the seeds that all arms have.

    Args:
        logs: Arm, baseline first, to seed to log.
        main: The metric that heads the table.
        tested: Metrics of ``kd_plugins test`` on the last checkpoint, in place of those of the last validation.

    Returns:
        A dict with ``seeds``, ``baseline``, ``metric``, ``source`` and, under ``arms``, for each arm and metric the
        values, mean and sample standard deviation of the last and the best epoch, with the paired difference.

    Raises:
        ConfigError: If no seed is finished in all arms or the main metric was not logged.
    """
    arms, seeds = list(logs), common_seeds(logs)
    if not seeds:
        raise ConfigError(
            'no seed is finished in every arm yet, so nothing can be compared; run the missing trainings first'
        )
    finals: Finals = tested or {
        arm: {seed: {name: last_value(series) for name, series in logs[arm][seed].metrics.items()} for seed in seeds}
        for arm in arms
    }
    shared = [
        name for name in finals[arms[0]][seeds[0]] if all(name in finals[arm][seed] for arm in arms for seed in seeds)
    ]
    if main not in shared:
        raise ConfigError(f"--metric: '{main}' is not in the logs of every run; {nearest(main, shared)}")
    result: dict[str, Any] = {
        'seeds': seeds,
        'baseline': arms[0],
        'metric': main,
        'source': TESTED if tested else VALIDATED,
        'arms': {},
    }
    for arm in arms:
        table: dict[str, Any] = {}
        for name in order_metrics(shared, main):
            # COCO evaluation gives -1 for a class without objects.
            values = [finals[arm][seed][name] for seed in seeds]
            entry: dict[str, Any] = {'last': _numbers(values)}
            curves = [logs[arm][seed].metrics.get(name) for seed in seeds]
            if all(curves):
                entry['best'] = _numbers([best_value(name, series) for series in curves if series])
            if arm != arms[0]:
                base = [finals[arms[0]][seed][name] for seed in seeds]
                entry['difference'] = vars(paired_difference(base, values))
            table[name] = entry
        result['arms'][arm] = table
    return result


def _numbers(values: list[float]) -> dict[str, Any]:
    return {'values': values, **vars(summarize(values))}


def _spread(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ''
    deviation = '' if math.isnan(entry['deviation']) else f' ± {entry["deviation"]:.4f}'
    return f'{entry["mean"]:.4f}{deviation}'


def table_of(result: Mapping[str, Any], arm: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows that compare one arm with the baseline."""
    base = result['arms'][result['baseline']]
    epoch = 'best epoch' if result['source'] == VALIDATED else 'best epoch in validation'
    headers = ['metric', 'baseline', arm, 'difference', '95 % interval', f'baseline, {epoch}', f'{arm}, {epoch}']
    rows = []
    for name, entry in result['arms'][arm].items():
        change = entry['difference']
        interval = 'one seed' if math.isnan(change['low']) else f'[{change["low"]:+.4f}, {change["high"]:+.4f}]'
        last, best = base[name]['last'], base[name].get('best')
        rows.append(
            [
                label(name),
                _spread(last),
                _spread(entry['last']),
                f'{change["mean"]:+.4f}',
                interval,
                _spread(best),
                _spread(entry.get('best')),
            ]
        )
    return headers, rows


def verdict(result: Mapping[str, Any], arm: str) -> str:
    """Return one sentence about the main metric: the gain, the spread between seeds, and the interval."""
    name = result['metric']
    entry, base = result['arms'][arm][name], result['arms'][result['baseline']][name]
    change, count = entry['difference'], len(result['seeds'])
    gain = -change['mean'] if lower_is_better(name) else change['mean']
    name_of_base = result['baseline']
    word = f'better than {name_of_base} by' if gain > 0 else f'worse than {name_of_base} by'
    if gain == 0:
        word = f'no different from {name_of_base}:'
    text = f'{arm} is {word} {abs(gain):.4f} {name}'
    text += f' over {count} seed{"s" if count > 1 else ""}'
    if count < 2:
        return f'{text}; one seed cannot show the effect of chance'
    clear = change['low'] > 0 or change['high'] < 0
    spread = max(base['last']['deviation'], entry['last']['deviation'])
    size = 'more' if abs(gain) > spread else 'not more'
    zero = 'excludes' if clear else 'includes'
    return f'{text}: {size} than the spread between seeds ({spread:.4f}), and the 95 % interval {zero} 0'


def markdown(result: Mapping[str, Any], title: str, configs: Mapping[str, str], curves: str | None = None) -> str:
    """Return the report as a Markdown page."""
    parts = [f'# {title}']
    for arm in list(result['arms'])[1:]:
        parts += [f'## {arm}', f'{verdict(result, arm)}.', markdown_table(*table_of(result, arm))]
    parts.append(
        f'Values of the {result["source"]}, mean ± sample standard deviation over the seeds '
        f'{", ".join(map(str, result["seeds"]))}; differences are paired by seed, with a Student t interval. '
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
    """Draw one panel per metric, with the mean of each arm as a line and one standard deviation as a band.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("curves need 'matplotlib' (extra 'demo'), which is not installed") from error
    figure = Figure(figsize=(5.2 * len(metrics), 3.8), layout='constrained')
    FigureCanvasAgg(figure)
    seeds = common_seeds(logs)
    for index, metric in enumerate(metrics):
        axes = figure.add_subplot(1, len(metrics), index + 1)
        for arm, runs in logs.items():
            curves = [runs[seed].metrics[metric] for seed in seeds if metric in runs[seed].metrics]
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
