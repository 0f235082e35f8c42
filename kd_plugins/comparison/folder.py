"""Folder of a comparison's report: tables, every value, curves and compact logs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..runner.run_log import RunLog, compact_lines, is_tested, read_run, read_test, without_nan, write_lines
from ..utils.files import write_atomically
from .formatting import is_number, lower_is_better
from .plan import Arm, Run, plan_runs
from .records import Records, finished_state, log_path
from .report import Logs, markdown, plot_curves

CALIBRATION = 'calibration/'
"""Begin of the names of the metrics that ``--calibration`` adds to a test."""


def is_in_folder(run: Run, test_last: bool) -> bool:
    """Return whether the folder of a run holds all that counts: its log to the end and, where wanted, its test."""
    return run.state == 'finished' and (not test_last or bool(metrics_of_test(run.folder)))


def metrics_of_test(folder: Path) -> dict[str, float]:
    """Return the metrics of the test of a run, empty where it was not tested.

    A test can measure nothing: COCO's has no metric where a detector that collapsed finds nothing in the whole data
    set. The metrics of the validations are NaN then, because a run that is left out would flatter its arm.

    Args:
        folder: The run's work_dir.
    """
    metrics = read_test(folder / 'test')
    if all(name.startswith(CALIBRATION) for name in metrics) and is_tested(folder / 'test'):
        return {**dict.fromkeys(read_run(folder).metrics, math.nan), **metrics}
    return metrics


def read_finished(
    arms: Sequence[Arm], seeds: Sequence[int], work_dir: str | Path, test_last: bool, taken: Records | None = None
) -> tuple[dict[str, dict[int, RunLog]], dict[str, dict[int, dict[str, float]]] | None]:
    """Return the logs of the finished runs by arm and seed, and the metrics of their tests.

    Args:
        arms: Baseline first.
        seeds: Values of ``randomness.seed``.
        work_dir: Folder of all runs.
        test_last: Whether the last checkpoints were to be tested; runs without a test are left out, and the second
            value is ``None`` otherwise.
        taken: Runs that come from the committed record.
    """
    logs: dict[str, dict[int, RunLog]] = {arm.name: {} for arm in arms}
    tested: dict[str, dict[int, dict[str, float]]] = {arm.name: {} for arm in arms}
    for run in plan_runs(arms, seeds, work_dir):
        recorded = (taken or {}).get(run.arm.name, {}).get(run.seed)
        if recorded is not None:
            logs[run.arm.name][run.seed] = recorded.log
            tested[run.arm.name][run.seed] = dict(recorded.record.tested)
        elif is_in_folder(run, test_last):
            logs[run.arm.name][run.seed] = read_run(run.folder)
            tested[run.arm.name][run.seed] = metrics_of_test(run.folder) if test_last else {}
    return logs, tested if test_last else None


def starts_of(folder: Path) -> int:
    """Return how often the run in a folder was started or resumed."""
    return len(list(folder.glob('*/vis_data')))


def states_of(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    work_dir: str | Path,
    taken: Records | None = None,
    test_last: bool = False,
) -> dict[str, dict[str, str]]:
    """Return, by arm and seed, whether a run is finished and after how many starts, or what it lacks.

    Args:
        arms: Baseline first.
        seeds: Values of ``randomness.seed``.
        work_dir: Folder of all runs.
        taken: Runs that come from the committed record.
        test_last: Whether a run counts only with the test of its last checkpoint.
    """
    states: dict[str, dict[str, str]] = {arm.name: {} for arm in arms}
    for run in plan_runs(arms, seeds, work_dir):
        recorded = (taken or {}).get(run.arm.name, {}).get(run.seed)
        if recorded is not None:
            state = recorded.state
        elif is_in_folder(run, test_last):
            state = finished_state(starts_of(run.folder))
        elif run.state == 'finished':
            state = 'not tested'
        else:
            state = 'not finished' if run.state == 'resume' else 'not started'
        states[run.arm.name][str(run.seed)] = state
    return states


def with_points(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result that is shown as points: every metric whose values all lie between 0 and 1, except errors.

    COCO's -1, for a class without objects, counts as such a value; the run that has no number does not count.

    Args:
        result: Of :func:`~kd_plugins.comparison.report.compare`, or content of ``results.json``.
    """
    names = []
    for name in result['arms'][result['baseline']]:
        values = [value for table in result['arms'].values() for value in table[name]['last']['values']]
        numbers = [value for value in values if is_number(value)]
        if numbers and not lower_is_better(name) and all(0 <= value <= 1 or value == -1 for value in numbers):
            names.append(name)
    return {**result, 'points': names}


def write_report(
    out: Path,
    result: Mapping[str, Any],
    logs: Logs,
    configs: Mapping[str, str],
    options: Sequence[str],
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``table.md``, ``results.json``, ``curves.png`` and ``logs/``.

    Args:
        out: The folder.
        result: Of :func:`~kd_plugins.comparison.report.compare`.
        logs: Arm to seed to log.
        configs: Arm to the path of its config.
        options: ``KEY=VALUE`` settings of every run.
        about: More entries of ``results.json``, which the page needs.

    Returns:
        The content of ``results.json``.
    """
    (out / 'logs').mkdir(parents=True, exist_ok=True)
    metric = result['metric']
    classes = [name for name in result['arms'][result['baseline']] if name.endswith('_precision')]
    used = {arm: {seed: logs[arm][seed] for seed in seeds} for arm, seeds in result['seeds_of'].items()}
    plot_curves(used, [metric, *classes[:3]], out / 'curves.png')
    for arm, runs in logs.items():
        for seed, log in runs.items():
            write_lines(log_path(out, arm, seed), compact_lines(log))
    extra = {'configs': dict(configs), 'cfg_options': list(options), **(about or {})}
    text = json.dumps(without_nan({**result, **extra}), indent=2) + '\n'
    # Records in it stand for runs whose folders are lost, so it must survive an interruption.
    write_atomically(out / 'results.json', text.encode())
    table = markdown(result, f'{metric} of {", ".join(configs)}', configs, 'curves.png')
    write_atomically(out / 'table.md', table.encode())
    return dict(json.loads(text))
