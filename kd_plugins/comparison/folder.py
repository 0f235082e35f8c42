"""Folder of a comparison's report: tables, every value, curves and compact logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..runner.run_log import RunLog, compact_lines, read_run, read_test, without_nan, write_lines
from .plan import Arm, plan_runs
from .report import Logs, markdown, plot_curves


def read_finished(
    arms: Sequence[Arm], seeds: Sequence[int], work_dir: str | Path, test_last: bool
) -> tuple[dict[str, dict[int, RunLog]], dict[str, dict[int, dict[str, float]]] | None]:
    """Return the logs of the finished runs by arm and seed, and the metrics of their tests.

    Args:
        arms: Baseline first.
        seeds: Values of ``randomness.seed``.
        work_dir: Folder of all runs.
        test_last: Whether the last checkpoints were to be tested; runs without a test are left out, and the second
            value is ``None`` otherwise.
    """
    logs: dict[str, dict[int, RunLog]] = {arm.name: {} for arm in arms}
    tested: dict[str, dict[int, dict[str, float]]] = {arm.name: {} for arm in arms}
    for run in plan_runs(arms, seeds, work_dir):
        metrics = read_test(run.folder / 'test') if test_last else {}
        if run.state != 'finished' or (test_last and not metrics):
            continue
        logs[run.arm.name][run.seed] = read_run(run.folder)
        tested[run.arm.name][run.seed] = metrics
    return logs, tested if test_last else None


def write_report(
    out: Path, result: Mapping[str, Any], logs: Logs, configs: Mapping[str, str], options: Sequence[str]
) -> None:
    """Write ``table.md``, ``results.json``, ``curves.png`` and ``logs/``.

    Args:
        out: The folder.
        result: Of :func:`~kd_plugins.comparison.report.compare`.
        logs: Arm to seed to log.
        configs: Arm to the path of its config.
        options: ``KEY=VALUE`` settings of every run.
    """
    (out / 'logs').mkdir(parents=True, exist_ok=True)
    metric = result['metric']
    classes = [name for name in result['arms'][result['baseline']] if name.endswith('_precision')]
    plot_curves(logs, [metric, *classes[:3]], out / 'curves.png')
    for arm, runs in logs.items():
        for seed, log in runs.items():
            write_lines(out / 'logs' / f'{arm}_seed_{seed}.jsonl.gz', compact_lines(log))
    values = without_nan({**result, 'configs': dict(configs), 'cfg_options': list(options)})
    (out / 'results.json').write_text(json.dumps(values, indent=2) + '\n', encoding='utf-8')
    page = markdown(result, f'{metric} of {", ".join(configs)}', configs, 'curves.png')
    (out / 'table.md').write_text(page, encoding='utf-8')
