"""Records of finished runs in ``results.json``, which stand for runs whose folders are lost."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..runner.run_log import RunLog, read_compact
from .formatting import seed_range
from .layers import Layers
from .report import TESTED

KEY = 'records'
"""Entry of ``results.json``: arm to seed to record."""


MIXED = '+'
"""Between the places of a run that was resumed elsewhere, whose time is comparable with no other one."""


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        fingerprint: Of :func:`~kd_plugins.comparison.fingerprints.settings_hash`.
        step: Step of the last validation.
        metrics: Metrics of that validation.
        tested: Metrics of the test of the last checkpoint, empty without one.
        seconds: Time of all training steps, NaN where it is unknown.
        steps: Number of training steps.
        starts: How often the training was started or resumed.
        place: Hash of machine and folder, or two with ``+`` between them of a run that was resumed elsewhere; times of
            different places are not compared.
        teachers: Teacher, or arm whose checkpoint the run needs, to the hash of its weights, ``None`` where they are
            unknown.
        layers: AP of every decoder layer, where it was measured.
        bins: Bins of the calibration, where it was measured.
        adopted: Whether the fingerprint was added afterwards, without the run's folder.
        ratio: Step time of its arm as a multiple of the baseline's, where the times of single runs are unknown.
    """

    fingerprint: str
    step: int
    metrics: Mapping[str, float]
    tested: Mapping[str, float]
    seconds: float
    steps: int
    starts: int
    place: str
    teachers: Mapping[str, str | None]
    layers: Layers | None = None
    bins: list[list[float]] | None = None
    adopted: bool = False
    ratio: float | None = None


@dataclass(frozen=True)
class Recorded:
    """A record with the log of its run."""

    record: Record
    log: RunLog

    @property
    def state(self) -> str:
        """State of the run, as in ``results.json``."""
        return finished_state(self.record.starts)


Records = Mapping[str, Mapping[int, Recorded]]
"""Arm to seed to record."""


def finished_state(starts: int) -> str:
    """Return the state of a finished run.

    >>> finished_state(1), finished_state(2)
    ('finished', 'finished after 2 starts')
    """
    return f'finished after {starts} starts' if starts > 1 else 'finished'


def place_of(work_dir: Path) -> str:
    """Return the hash of this machine's name and a folder."""
    return hashlib.sha256(f'{platform.node()}:{work_dir.resolve()}'.encode()).hexdigest()[:8]


def log_path(folder: Path, arm: str, seed: int) -> Path:
    """Return the compact log of a run in the folder of its experiment."""
    return folder / 'logs' / f'{arm}_seed_{seed}.jsonl.gz'


def read_values(folder: Path) -> dict[str, Any]:
    """Return the content of ``results.json``, empty where there is none.

    Raises:
        ConfigError: If the file is damaged.
    """
    path = folder / 'results.json'
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"'{path}' is damaged ({error}); restore the committed file or remove it") from error


def read_records(folder: Path, values: Mapping[str, Any] | None = None) -> dict[str, dict[int, Recorded]]:
    """Return the records of an experiment with their logs; a record whose log is missing is left out.

    Args:
        folder: Folder of the protocol. Its ``results.json`` may be of the time before records, or missing.
        values: Content of ``results.json``, read here by default.

    Raises:
        ConfigError: If ``results.json`` or a log is damaged.
    """
    known = {field.name for field in fields(Record)}
    read: dict[str, dict[int, Recorded]] = {}
    for arm, runs in (read_values(folder) if values is None else values).get(KEY, {}).items():
        for seed, entry in runs.items():
            path = log_path(folder, arm, int(seed))
            if not path.is_file():
                continue
            try:
                own = {name: value for name, value in entry.items() if name in known}
                numbers = {name: _numbers(own[name]) for name in ('metrics', 'tested')}
                seconds = math.nan if own['seconds'] is None else own['seconds']
                record = Record(**{**own, **numbers, 'seconds': seconds})
            except (KeyError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"'{folder / 'results.json'}' is damaged: {KEY}.{arm}.{seed} has no {error}; restore the committed "
                    'file'
                ) from error
            log = read_compact(path)
            for name, value in record.metrics.items():  # logs of before were rounded
                log.metrics.setdefault(name, {})[record.step] = value
            read.setdefault(arm, {})[int(seed)] = Recorded(record, log)
    return read


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}


def as_json(records: Mapping[str, Mapping[int, Record]]) -> dict[str, Any]:
    """Return records as an entry of ``results.json``."""
    return {arm: {str(seed): asdict(record) for seed, record in sorted(runs.items())} for arm, runs in records.items()}


def adopted_records(
    values: Mapping[str, Any], folder: Path, fingerprints: Mapping[str, str], teachers: Mapping[str, Sequence[str]]
) -> dict[str, dict[int, Record]]:
    """Return records for the runs of a ``results.json`` of the time before records.

    The times of single runs are unknown there, so each gets the mean and the step time of its arm.

    Args:
        values: Content of ``results.json``.
        folder: Its folder, with the logs.
        fingerprints: Arm to the fingerprint of the present settings; runs of other arms are left out.
        teachers: Arm to the names of its teachers.

    Raises:
        ConfigError: If a log is damaged.
    """
    made: dict[str, dict[int, Record]] = {}
    for arm, table in values['arms'].items():
        seeds = (values.get('seeds_of') or {}).get(arm, values['seeds'])
        for place, seed in enumerate(seeds):
            path = log_path(folder, arm, seed)
            log = read_compact(path) if arm in fingerprints and path.is_file() else RunLog()
            step = log.last_step
            if step is None:
                continue
            last = {name: entry['last']['values'][place] for name, entry in table.items()}
            last = _numbers(last)
            tested = values['source'] == TESTED
            state = values.get('runs', {}).get(arm, {}).get(str(seed), '')
            about = values.get('about', {}).get(arm, {})
            seconds = about.get('seconds')
            made.setdefault(arm, {})[seed] = Record(
                fingerprint=fingerprints[arm],
                step=step,
                metrics={name: series[step] for name, series in log.metrics.items() if step in series}
                if tested
                else last,
                tested=last if tested else {},
                seconds=math.nan if seconds is None else seconds,
                steps=max((max(series) for series in log.losses.values()), default=0),
                starts=int(state.split()[2]) if state.endswith('starts') else 1,
                place='',
                teachers=dict.fromkeys(teachers.get(arm, ())),
                layers=values.get('layers', {}).get(arm, {}).get(str(seed)),
                adopted=True,
                ratio=about.get('step'),
            )
    return made


def runs_text(runs: Mapping[str, Sequence[int]]) -> str:
    """Return runs as text.

    >>> runs_text({'plain': [0, 1, 2], 'taught': [0]})
    'plain seeds 0 to 2; taught seed 0'
    """
    return '; '.join(f'{arm} seed{"s" if len(seeds) > 1 else ""} {seed_range(seeds)}' for arm, seeds in runs.items())


def record_sentences(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sentences of a page about runs from the committed record and about teachers with different weights.

    Args:
        values: Content of ``results.json``.
    """
    if values.get('recorded'):
        yield (
            'Their folders are gone, so these runs come from the committed record, as runs of equal settings: '
            f'{runs_text(values["recorded"])}.'
        )
    records = values.get(KEY) or {}
    adopted = {arm: [int(seed) for seed, one in runs.items() if one['adopted']] for arm, runs in records.items()}
    adopted = {arm: seeds for arm, seeds in adopted.items() if seeds}
    if adopted:
        yield (
            'These were recorded before the settings of each run were, and are taken to be runs of this protocol: '
            f'{runs_text(adopted)}.'
        )
    arms = {*records, *values.get('configs', ())}
    for teacher, weights in weights_of_teachers(records, arms).items():
        if len(weights) > 1:
            groups = [f'{weights_name(name)} taught {runs_text(runs)}' for name, runs in weights.items()]
            why = 'differ between runs, because it was trained again'
            if len(set(weights) - {None}) < 2:
                why = 'can differ between runs, because not all of them are known'
            yield f'The weights of {teacher} {why}: {", ".join(groups)}.'


def weights_name(name: str | None) -> str:
    """Return the name of weights in a sentence."""
    return 'unknown weights' if name is None else f'`{name[:8]}`'


def weights_of_teachers(
    records: Mapping[str, Any], arms: Collection[str] = ()
) -> dict[str, dict[str | None, dict[str, list[int]]]]:
    """Return the runs that learned from each teacher, by the hash of its weights.

    Args:
        records: Arm to seed to record, as in ``results.json``.
        arms: All arms; one that teaches is trained with each seed, so each of its runs is a teacher of its own.

    >>> weights_of_teachers({'a': {'0': {'teachers': {'big': 'x'}}, '1': {'teachers': {'big': 'y'}}}})
    {'big': {'x': {'a': [0]}, 'y': {'a': [1]}}}
    >>> weights_of_teachers({'b': {'0': {'teachers': {'a': 'x'}}, '1': {'teachers': {'a': 'y'}}}}, ['a', 'b'])
    {'a seed 0': {'x': {'b': [0]}}, 'a seed 1': {'y': {'b': [1]}}}
    """
    found: dict[str, dict[str | None, dict[str, list[int]]]] = {}
    for arm, runs in records.items():
        for seed, record in runs.items():
            for name, weights in record['teachers'].items():
                teacher = f'{name} seed {seed}' if name in arms else name
                found.setdefault(teacher, {}).setdefault(weights, {}).setdefault(arm, []).append(int(seed))
    return found
