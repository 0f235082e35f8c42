"""Trainings and tests of a comparison, each in a process of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..errors import KDPluginsError
from ..runner.processes import exclusive, execute, stopped_together, subcommand
from ..runner.run_log import read_run
from .calibration import lacks_test
from .layers import LAYERS
from .mixing import FILE as MIXING
from .plan import Run, last_checkpoint, read_record, run_state, train_command, write_record
from .records import MIXED, place_of


def perform_all(
    runs: Sequence[Run],
    options: Sequence[str],
    jobs: int = 1,
    test_last: bool = False,
    calibration: bool = False,
) -> list[str]:
    """Train the runs that are not finished and, where wanted, test their last checkpoints.

    Args:
        runs: All runs of the comparison.
        options: ``KEY=VALUE`` settings of every run.
        jobs: How many processes run at once.
        test_last: Whether to test.
        calibration: Whether the tests measure the calibration.

    Returns:
        One sentence for each run that failed; a failure does not stop the others.
    """

    def perform(index: int) -> str | None:
        run = runs[index]
        name = f'[{index + 1}/{len(runs)}] {run.arm.name} seed {run.seed}'
        try:
            train(run, name, options, jobs)
            if test_last and lacks_test(run.folder, calibration):
                test(run, options, jobs, calibration)
        except (KDPluginsError, OSError) as error:  # such as a full disk
            return f'{name}: {error}'
        return None

    with ThreadPoolExecutor(max(jobs, 1)) as pool, stopped_together():
        return [failure for failure in pool.map(perform, range(len(runs))) if failure is not None]


def train(run: Run, name: str, options: Sequence[str], jobs: int, teachers: Mapping[str, str] | None = None) -> None:
    """Train a run unless it is finished, which another process can have done since the run was planned.

    Args:
        run: The run; its state is read again.
        name: Name of the run in printed lines.
        options: ``KEY=VALUE`` settings.
        jobs: How many processes run at once.
        teachers: Teacher to the hash of its weights.

    Raises:
        KDPluginsError: If the training fails, leaves no metrics, is running in another process, or was begun with
            other weights of a teacher.
    """
    if run_state(run.arm, run.folder) == 'finished':
        if not read_record(run.folder):
            write_record(run.folder, run.arm)
        print(f'{name}: finished before', flush=True)
        return
    with exclusive(run.folder) as held:
        _train(replace(run, state=run_state(run.arm, run.folder)), name, options, jobs, dict(teachers or {}), held)


def _train(
    run: Run, name: str, options: Sequence[str], jobs: int, teachers: Mapping[str, str], held: Sequence[int]
) -> None:
    record = read_record(run.folder)
    for teacher, weights in record.get('teachers', {}).items():
        if run.state == 'resume' and teachers.get(teacher) not in (None, weights):
            raise KDPluginsError(
                f"'{run.folder}' was begun with other weights of {teacher} ({weights}) than its checkpoint has now "
                f'({teachers[teacher]}); remove that folder to train it again'
            )
    place, before = place_of(run.folder.parents[1]), record.get('place')
    if run.state == 'resume' and before is not None:
        place = before if before.split(MIXED)[-1] == place else f'{before}{MIXED}{place}'
    begun = record.get('teachers', {}) if run.state == 'resume' and record else teachers
    write_record(run.folder, run.arm, teachers=begun, place=place)
    _drop_measurements(run.folder)
    log = run.folder / 'train.log'
    print(f'{name}: {"resumed" if run.state == "resume" else "started"}, log in {log}', flush=True)
    start = time.monotonic()
    execute(train_command(run, options), log, jobs, held)
    if read_run(run.folder).last_step is None:
        raise KDPluginsError(
            f"'{run.folder}' holds no log of a validation, so the run cannot be compared; the log needs "
            "visualizer.vis_backends=[dict(type='LocalVisBackend')], which MMEngine uses by default"
        )
    write_record(run.folder, run.arm, ended=True, teachers=teachers, place=place)
    print(f'{name}: finished in {(time.monotonic() - start) / 60:.1f} min', flush=True)


def _drop_measurements(folder: Path) -> None:
    """Remove what was measured on a checkpoint that is not the last one any more, as of a run that begins again."""
    shutil.rmtree(folder / 'test', ignore_errors=True)
    for name in (LAYERS, MIXING):
        (folder / name).unlink(missing_ok=True)


def measure_layers(run: Run, options: Sequence[str], jobs: int) -> None:
    """Measure every decoder layer of the last checkpoint of a DETR on the test data of its config.

    Args:
        run: A finished run.
        options: ``KEY=VALUE`` settings.
        jobs: How many processes run at once.

    Raises:
        KDPluginsError: If there is no checkpoint or the measurement fails.
    """
    words = ['--out', str(run.folder / LAYERS), '--work-dir', str(run.folder / 'layers')]
    _on_checkpoint(run, subcommand('show') + ['layer-ap'], words, options, run.folder / 'layers.log', jobs)


def test(run: Run, options: Sequence[str], jobs: int, calibration: bool = False) -> None:
    """Measure the last checkpoint of a run on the test data of its config.

    Args:
        run: A finished run.
        options: ``KEY=VALUE`` settings.
        jobs: How many processes run at once.
        calibration: Whether to measure the calibration as well.

    Raises:
        KDPluginsError: If there is no checkpoint or the test fails.
    """
    words = ['--work-dir', str(run.folder / 'test'), *(['--calibration'] if calibration else [])]
    _on_checkpoint(run, subcommand('test'), words, options, run.folder / 'test.log', jobs)


def _on_checkpoint(
    run: Run, command: Sequence[str], words: Sequence[str], options: Sequence[str], log: Path, jobs: int
) -> None:
    checkpoint = last_checkpoint(run.folder, run.arm.filename_tmpl)
    if checkpoint is None:
        raise KDPluginsError(f"'{run.folder}' holds no readable checkpoint to test")
    settings = [*options, *run.arm.options]
    line = [*command, run.arm.path, checkpoint, *words, *(['--cfg-options', *settings] if settings else [])]
    with exclusive(run.folder) as held:
        execute(line, log, jobs, held)
