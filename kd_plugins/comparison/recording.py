"""Keep the finished runs of an experiment in ``results.json``, and tell which of them stand for lost folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError
from ..evaluation.calibration import read_bins
from ..runner.run_log import RunLog, metrics_at, without_nan
from ..utils.files import write_atomically
from .cost import logged_time, place_of_run
from .experiment import Experiment, Task
from .folder import metrics_of_test, starts_of
from .layers import layers_of
from .plan import FINGERPRINT, read_record
from .queue import to_run
from .records import KEY, Record, Recorded, adopted_records, as_json, read_values, runs_text


def make_records(
    experiment: Experiment, logs: Mapping[str, Mapping[int, RunLog]], taken: Mapping[str, Mapping[int, Recorded]]
) -> dict[str, dict[int, Record]]:
    """Return the records of all finished runs.

    Args:
        experiment: With all its arms.
        logs: Arm to seed to log.
        taken: Runs that come from the committed record, which stay as they are; the weights of a teacher that a record
            does not name are unknown.
    """
    tasks = experiment.tasks(sorted({seed for runs in logs.values() for seed in runs}))
    by_run = {(task.arm.name, task.seed): task for task in tasks if not task.training.teacher}
    return {
        arm: {
            seed: _with_all_teachers(taken[arm][seed].record, experiment.needs(arm))
            if seed in taken.get(arm, {})
            else make_record(by_run[arm, seed], log, experiment.fingerprints[arm], tasks)
            for seed, log in runs.items()
        }
        for arm, runs in logs.items()
    }


def make_record(task: Task, log: RunLog, fingerprint: str, tasks: Sequence[Task]) -> Record:
    """Return the record of a run by its folder.

    Args:
        task: The run, which is finished.
        log: Its log.
        fingerprint: Of its present settings, which are those of the folder.
        tasks: All runs, among them its teachers.
    """
    seconds, steps = logged_time(task.folder)
    bins = read_bins(task.folder / 'test')
    step = log.last_step or 0
    return Record(
        fingerprint=fingerprint,
        step=step,
        metrics=metrics_at(log, step),
        tested=metrics_of_test(task.folder) if task.protocol.test_last else {},
        seconds=seconds if steps else float('nan'),
        steps=steps,
        starts=starts_of(task.folder),
        place=place_of_run(task.folder, task.root),
        teachers=_teachers(task, tasks),
        layers=layers_of(task.folder),
        bins=None if bins is None else bins.tolist(),
    )


def _teachers(task: Task, tasks: Sequence[Task]) -> dict[str, str | None]:
    """Return the hashes of the weights of a run's teachers.

    A run of the time before these hashes has none; there, a checkpoint counts that is older than the end of the run.
    """
    noted = read_record(task.folder).get('teachers', {})
    end = task.folder / FINGERPRINT
    older = [
        other
        for other in task.needed(tasks)
        if other.training.name not in noted and end.is_file() and _is_older(other.checkpoint(), end)
    ]
    known = {**task.teachers(older), **noted}
    return {name: known.get(name) for name in task.training.needs}


def _with_all_teachers(record: Record, needs: Sequence[str]) -> Record:
    return replace(record, teachers={**dict.fromkeys(needs), **record.teachers})


def _is_older(path: str | None, end: Path) -> bool:
    return path is not None and Path(path).stat().st_mtime <= end.stat().st_mtime


def adopt(experiment: Experiment) -> str:
    """Add records to a ``results.json`` of the time before records, as runs of the present settings.

    Nothing proves that the settings were the present ones: this is for a person who knows it.

    Returns:
        What was done, in one sentence without its full stop.

    Raises:
        ConfigError: If there is no such file, it has records, or no log of its runs is there.
    """
    path = experiment.folder / 'results.json'
    values = read_values(experiment.folder)
    if not values or KEY in values:
        reason = 'has records already' if values else 'does not exist'
        raise ConfigError(f"--adopt: '{path}' {reason}; leave out --adopt")
    protocol = experiment.protocol
    teachers = {arm.name: arm.needs for arm in protocol.arms}
    fingerprints = {arm.name: experiment.fingerprints[arm.name] for arm in protocol.arms}
    records = adopted_records(values, experiment.folder, fingerprints, teachers)
    if not records:
        raise ConfigError(f"--adopt: '{path}' has no run of an arm of the protocol with its log in 'logs'")
    text = json.dumps(without_nan({**values, KEY: as_json(records)}), indent=2) + '\n'
    write_atomically(path, text.encode())
    return f'recorded as runs of the present settings: {runs_text({arm: list(runs) for arm, runs in records.items()})}'


def record_lines(experiment: Experiment, tasks: Sequence[Task]) -> Iterator[str]:
    """Yield what the command prints about runs of the committed record, and about teachers that were lost.

    Args:
        experiment: The experiment.
        tasks: Its tasks.
    """
    folder = experiment.folder
    taken: dict[str, list[int]] = {}
    for task in tasks:
        if task.state() == 'recorded':
            taken.setdefault(task.arm.name, []).append(task.seed)
    if taken:
        yield f"from the committed record in '{folder}', because their folders are gone: {runs_text(taken)}"
    missing = [task for task in tasks if task.state() in ('new', 'resume')]
    for task in missing:
        objection = experiment.objection(task.arm.name, task.seed)
        if objection:
            yield f"{task.arm.name} seed {task.seed} has to be run, because its record in '{folder}' {objection}"
    values = read_values(folder)
    arms = [arm.name for arm in experiment.protocol.arms]
    strange = {arm: list(map(int, runs)) for arm, runs in values.get(KEY, {}).items() if arm not in arms}
    if strange:
        yield (
            f"'{folder / 'results.json'}' has records of arms that the protocol does not have: {runs_text(strange)}; "
            'the next report leaves them out'
        )
    if values and KEY not in values:
        old: dict[str, list[int]] = {}
        for task in missing:
            if task.seed in values.get('seeds_of', {}).get(task.arm.name, []):
                old.setdefault(task.arm.name, []).append(task.seed)
        if old:
            yield (
                f"'{folder / 'results.json'}' is older than records, so it cannot stand for {runs_text(old)}, whose "
                'folders are gone; --adopt takes them as runs of the present settings'
            )
    yield from _lost_weights(experiment, tasks)


def _lost_weights(experiment: Experiment, tasks: Sequence[Task]) -> Iterator[str]:
    """Yield a sentence for each teacher, also an arm, that is trained again for a missing run and taught another one.

    Args:
        experiment: The experiment.
        tasks: Its tasks.
    """
    running, records = to_run(tasks), experiment.records
    for lost in running:
        needing: dict[str, list[int]] = {}
        for task in running:
            if lost in task.needed(tasks):
                needing.setdefault(task.arm.name, []).append(task.seed)
        name, is_teacher = lost.training.name, lost.training.teacher
        taught = {
            arm: sorted(seed for seed in runs if is_teacher or seed == lost.seed)
            for arm, runs in records.items()
            if name in experiment.needs(arm)
        }
        taught = {arm: seeds for arm, seeds in taught.items() if seeds}
        changes = [f'its weights can differ from those that taught {runs_text(taught)}'] if taught else []
        if lost.state() == 'recorded':
            changes.append('its new numbers take the place of those on record')
        if needing and changes:
            shown = name if is_teacher else f'{name} seed {lost.seed}'
            yield (
                f'{shown} has to be trained again for {runs_text(needing)}, because its folder is gone; '
                f'{", and ".join(changes)}'
            )
