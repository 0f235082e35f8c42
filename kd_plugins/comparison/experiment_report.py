"""Report of an experiment: its protocol and its results on one page, written whole from the logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.loading import load_config
from ..utils.cli import parse_options
from .folder import write_report
from .members import BASELINE, Member
from .page import page
from .plan import make_arm
from .protocol import Protocol, Training
from .results import Settings, collect

ARM = 'arm'
CONCLUSION = 'conclusion.md'
"""File beside the protocol: what the results say, written after them; its first line is the page's title."""


def member_of(training: Training, kind: str) -> Member:
    """Return an arm of a protocol as a member of a comparison."""
    config = load_config(training.config, parse_options(training.option_words({})))
    return Member(make_arm(training.config, config, training.name), config, kind, training.note)


def settings_of(protocol: Protocol, work_dir: Path) -> Settings:
    """Return the settings of the comparison that a protocol describes.

    Args:
        protocol: The experiment.
        work_dir: Folder of all experiments.
    """
    baseline, *others = protocol.arms
    references = dict.fromkeys(worse for _, worse in protocol.contrasts if worse != baseline.name)
    return Settings(
        [member_of(baseline, BASELINE), *(member_of(arm, ARM) for arm in others)],
        protocol.seeds,
        protocol.more_seeds,
        work_dir / protocol.name,
        protocol.metrics,
        protocol.test_last,
        list(references),
        protocol.contrasts,
    )


def write_experiment(protocol: Protocol, work_dir: Path, ratios: Mapping[str, float] | None = None) -> str:
    """Write tables, every value, curves and logs beside the protocol, and return the page.

    Args:
        protocol: The experiment.
        work_dir: Folder of all experiments.
        ratios: Arm to its measured step time as a multiple of the baseline's.

    Raises:
        ConfigError: If no two arms have finished a seed in common, or a metric is in no log.
    """
    folder = Path(protocol.path).parent
    result, logs, about = collect(settings_of(protocol, work_dir), True, ratios or {}, [])
    values = write_report(folder, result, logs, about.pop('configs'), [], about)
    path = folder / CONCLUSION
    conclusion = path.read_text(encoding='utf-8').strip() if path.is_file() else f'# {protocol.name}'
    return experiment_page(protocol, values, conclusion)


def experiment_page(protocol: Protocol, values: Mapping[str, Any], conclusion: str) -> str:
    """Return the page of an experiment; equal values give equal text.

    Args:
        protocol: The experiment.
        values: Content of ``results.json``.
        conclusion: Title and conclusion.
    """
    notice, _, table = page(values).partition('\n')
    results = f'../../results/{protocol.name}'
    parts = [
        notice,
        conclusion,
        '## What was asked',
        protocol.question,
        f'Refuted if: {protocol.refuted_if}',
        *([f'Stopped early if: {protocol.stop_if}'] if protocol.stop_if else []),
        *([f'It was stopped early: {protocol.stopped}'] if protocol.stopped else []),
        f'[This protocol]({results}/protocol.py) was committed before the first run.',
        '## Results',
        table.strip(),
        f'![{values["metric"]} by step]({results}/curves.png)',
        f'[All metrics]({results}/table.md) and the logs of all runs lie beside the protocol.',
    ]
    return '\n\n'.join(parts) + '\n'
