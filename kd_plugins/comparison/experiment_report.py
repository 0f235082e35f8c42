"""Report of an experiment: its protocol and its results on one page, written whole from the logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..utils.tables import markdown_table
from .calibration import PICTURE, write_reliability
from .experiment import Experiment
from .folder import write_report
from .layers import SHOWN, layers_table, read_layers
from .page import page
from .protocol import Protocol
from .recording import make_records
from .records import KEY, as_json, record_sentences
from .results import collect

CONCLUSION = 'conclusion.md'
"""File beside the protocol: what the results say, written after them; its first line is the page's title."""


def write_experiment(experiment: Experiment) -> str:
    """Write tables, every value, curves and logs beside the protocol, and return the page.

    Args:
        experiment: With all its arms.

    Raises:
        ConfigError: If no two arms have finished a seed in common, or a metric is in no log.
    """
    protocol, folder = experiment.protocol, experiment.folder
    settings = experiment.settings
    result, logs, about = collect(settings, True, {}, [])
    taken, folders = settings.taken(), experiment.folders(result['seeds_of'])
    if protocol.layers:
        recorded = {arm: {seed: one.record.layers for seed, one in runs.items()} for arm, runs in taken.items()}
        about['layers'] = read_layers(folders, recorded)
    if protocol.calibration:
        about['reliability'] = write_reliability(folders, folder / PICTURE, taken)
    about['recorded'] = {arm: sorted(runs) for arm, runs in taken.items()}
    about[KEY] = as_json(make_records(experiment, logs, taken))
    return with_conclusion(experiment, write_report(folder, result, logs, about.pop('configs'), [], about))


def with_conclusion(experiment: Experiment, values: Mapping[str, Any]) -> str:
    """Return the page of an experiment with the conclusion that lies beside its protocol.

    Args:
        experiment: The experiment.
        values: Content of ``results.json``.
    """
    path = experiment.folder / CONCLUSION
    conclusion = path.read_text(encoding='utf-8').strip() if path.is_file() else f'# {experiment.protocol.name}'
    return experiment_page(experiment.protocol, values, conclusion)


def experiment_page(protocol: Protocol, values: Mapping[str, Any], conclusion: str) -> str:
    """Return the page of an experiment; equal values give equal text.

    Args:
        protocol: The experiment.
        values: Content of ``results.json``.
        conclusion: Title and conclusion.
    """
    asked = [list(pair) for pair in protocol.contrasts]
    notice, _, table = page({**values, 'contrasts': asked}).partition('\n')
    results = f'../../results/{protocol.name}'
    parts = [
        notice,
        conclusion,
        '## Question',
        protocol.question,
        f'Refuted if: {protocol.refuted_if}',
        *([f'Stopped early if: {protocol.stop_if}'] if protocol.stop_if else []),
        *([f'It was stopped early: {protocol.stopped}'] if protocol.stopped else []),
        f'[The protocol]({results}/protocol.py) has all arms and their settings.',
        '## Results',
        table.strip(),
        *record_sentences(values),
        *_layers(values),
        f'![{values["metric"]} by step]({results}/curves.png)',
        *([f'![share of right predictions by confidence]({results}/{PICTURE})'] if values.get('reliability') else []),
        f'[All metrics]({results}/table.md) and the logs of all runs lie beside the protocol.',
    ]
    return '\n\n'.join(parts) + '\n'


def _layers(values: Mapping[str, Any]) -> list[str]:
    """Return the tables of the decoder layers, where they were measured."""
    measured = values.get('layers') or {}
    arms = [arm for arm in values['arms'] if arm in measured]
    if not arms:
        return []
    parts = ['### Every decoder layer', 'On the test data, as points, mean ± sample standard deviation over the seeds.']
    for name in SHOWN:
        parts += [f'{name}:', markdown_table(*layers_table(measured, arms, name))]
    return parts
