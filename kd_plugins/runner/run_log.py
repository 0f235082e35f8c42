"""Read the log of MMEngine: one JSON object per line of ``WORK_DIR/TIMESTAMP/vis_data/scalars.json``."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..utils.files import write_atomically

Series = dict[int, float]
"""Step (epoch, or iteration in iteration-based runs) to value."""

# Keys of a logged line that are not results.
TIMING = {'time', 'data_time', 'memory', 'step', 'iter', 'epoch', 'lr', 'base_lr'}

VALIDATED = {'time', 'data_time', 'step'}
"""Keys of a logged line from a validation without metrics."""


@dataclass
class RunLog:
    """Scalars of one run, from its start and all its resumptions.

    Attributes:
        metrics: Metric to its value by step, from the lines of validation.
        losses: Loss to its value by iteration, including the distillation terms.
        empty: Steps whose validation ended without a metric, as MMDetection's does where nothing is detected.
    """

    metrics: dict[str, Series] = field(default_factory=dict)
    losses: dict[str, Series] = field(default_factory=dict)
    empty: set[int] = field(default_factory=set)

    @property
    def last_step(self) -> int | None:
        """The last step with a validation."""
        return max((step for series in self.metrics.values() for step in series), default=None)


def is_validation(row: dict[str, Any]) -> bool:
    """Return whether a logged line comes from validation: it has metrics, but no learning rate and no losses.

    >>> is_validation({'coco/bbox_mAP': 0.3, 'step': 1}), is_validation({'lr': 0.1, 'loss': 2.0, 'step': 1})
    (True, False)
    """
    names = set(row) - TIMING
    return bool(names) and 'lr' not in row and not any('loss' in name for name in names)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines without a line that a killed process left incomplete."""
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            yield row


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of one log; a last line that is incomplete, because the run was killed, is skipped."""
    return [row for row in _objects(path) if 'step' in row]


def read_run(work_dir: str | Path) -> RunLog:
    """Read the logs of a run and of its resumptions in order; where a step is repeated, the later value counts.

    Args:
        work_dir: The run's folder; the log is empty where it is empty or missing.
    """
    log = RunLog()
    # The folders are named by time, so sorting the names gives the order of the starts.
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for row in read_rows(path):
            if set(row) <= VALIDATED:
                log.empty.add(int(row['step']))
            target = log.metrics if is_validation(row) else log.losses
            for name, value in row.items():
                is_result = name not in TIMING and (target is log.metrics or 'loss' in name)
                if is_result and isinstance(value, (int, float)) and not isinstance(value, bool):
                    target.setdefault(name, {})[int(row['step'])] = float(value)
    for series in (*log.metrics.values(), *log.losses.values()):
        ordered = sorted(series.items())
        series.clear()
        series.update(ordered)
    return log


def metrics_at(log: RunLog, step: int) -> dict[str, float]:
    """Return every metric of the validation after ``step`` epochs or iterations.

    >>> metrics_at(RunLog(metrics={'coco/AP': {1: 0.2, 2: 0.3}}), 2)
    {'coco/AP': 0.3}
    """
    return {name: series[step] for name, series in log.metrics.items() if step in series}


def read_test(work_dir: str | Path) -> dict[str, float]:
    """Return the newest metrics that ``kd_plugins test`` wrote to ``WORK_DIR/TIMESTAMP/TIMESTAMP.json``."""
    metrics: dict[str, float] = {}
    for path in sorted(Path(work_dir).glob('*/*.json')):
        if path.stem != path.parent.name:
            continue
        for row in _objects(path):
            metrics = {
                key: float(value) for key, value in row.items() if key not in TIMING and isinstance(value, (int, float))
            }
    return metrics


def is_tested(work_dir: str | Path) -> bool:
    """Return whether ``kd_plugins test`` wrote a result to the folder, also one without a metric."""
    files = (path for path in Path(work_dir).glob('*/*.json') if path.stem == path.parent.name)
    return any(True for path in files for _ in _objects(path))


def compact_lines(log: RunLog, digits: int = 5) -> list[str]:
    """Return a run's metrics and losses as JSON lines, one per step, with losses rounded to significant digits.

    >>> compact_lines(RunLog(metrics={'coco/bbox_mAP': {1: 0.1234567}}, losses={'loss': {10: 2.3456789}}))
    ['{"train": 10, "loss": 2.3457}', '{"val": 1, "coco/bbox_mAP": 0.1234567}']
    """
    lines = []
    for kind, table in (('train', log.losses), ('val', log.metrics)):
        for step in sorted({step for series in table.values() for step in series}):
            row: dict[str, float] = {kind: step}
            for name, series in table.items():
                if step in series:
                    value = series[step]
                    rounded = kind == 'train' and math.isfinite(value)
                    row[name] = float(f'{value:.{digits}g}') if rounded else value
            lines.append(json.dumps(row))
    return lines


def read_compact(path: Path) -> RunLog:
    """Return the log whose :func:`compact_lines` a file of :func:`write_lines` holds.

    Args:
        path: ``NAME.jsonl.gz``.

    Raises:
        ConfigError: If the file is damaged.
    """
    log = RunLog()
    try:
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            row = json.loads(line)
            kind = 'val' if 'val' in row else 'train'
            step = int(row.pop(kind))
            target = log.metrics if kind == 'val' else log.losses
            for name, value in row.items():
                target.setdefault(name, {})[step] = float(value)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"'{path}' is damaged ({error}); restore the committed file or remove it") from error
    return log


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines into a gzip file, for ``zcat``, which is complete or absent; equal lines give equal bytes.

    Args:
        path: File to write, ``NAME.jsonl.gz``.
        lines: Lines without their ends.
    """
    text = ''.join(f'{line}\n' for line in lines)
    write_atomically(path, gzip.compress(text.encode(), mtime=0))


def without_nan(node: Any) -> Any:
    """Return ``node`` with ``None`` for NaN, because JSON has no NaN.

    >>> without_nan({'a': [float('nan'), 1.0]})
    {'a': [None, 1.0]}
    """
    if isinstance(node, dict):
        return {key: without_nan(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_nan(value) for value in node]
    return None if isinstance(node, float) and node != node else node
