"""Cost of the arms of a comparison: measured step ratios, and the training time in the logs."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from ..runner.processes import execute, has_hash, subcommand
from ..runner.run_log import is_validation, read_rows
from ..utils.files import write_atomically
from .members import write_config
from .plan import Arm, read_record, run_folder
from .records import MIXED, Records, place_of

FOLDER = 'cost'
"""Folder of measured step times below the work_dir of a comparison."""
STEPS, WARMUP = 30, 5
"""Measured steps and steps before them, of both configs in turn."""


def step_ratio(
    name: str, config: Config, baseline: Config, hashes: Sequence[str], work_dir: Path, jobs: int | None = 1
) -> float:
    """Return the time of a training step as a multiple of that of the baseline, measured once per comparison.

    The steps of both alternate in one process, see ``kd_plugins overhead``. The result is recorded together with the
    hashes of both configs, and measured again only where one of them changed.

    Args:
        name: Name of the record.
        config: The config to measure.
        baseline: The config to compare with.
        hashes: Identities of the baseline's and the config's settings.
        work_dir: Folder of the comparison.
        jobs: How many trainings run at once, which decides on the CPU threads; ``None`` measures nothing.

    Raises:
        ConfigError: If nothing is recorded and ``jobs`` is ``None``.
        KDPluginsError: If the measurement fails.
    """
    folder = work_dir / FOLDER
    path = folder / f'{name}.json'
    recorded = _read(path)
    known = recorded.get('configs')
    if known == list(hashes) or _are_hashes(known, baseline, config):
        return float(recorded['ratio'])
    if jobs is None:
        raise ConfigError(
            f"--equal compute: '{path}' holds no step time of these settings; leave out --report-only once"
        )
    for role, one in (('baseline', baseline), (name, config)):
        write_config(one, folder / f'{role}.py')
    numbers = folder / f'{name}_numbers.json'
    command = [*subcommand('overhead'), str(folder / f'{name}.py'), '--baseline', str(folder / 'baseline.py')]
    print(f'{name}: measuring its step time, log in {folder / f"{name}.log"}', flush=True)
    execute(
        [*command, '--steps', str(STEPS), '--warmup', str(WARMUP), '--out', str(numbers)], folder / f'{name}.log', jobs
    )
    values = json.loads(numbers.read_text(encoding='utf-8'))
    record = {'configs': list(hashes), 'ratio': values['time_median_of_ratios'], 'steps': STEPS, **values}
    write_atomically(path, f'{json.dumps(record, indent=2)}\n'.encode())
    numbers.unlink()
    return float(record['ratio'])


def _are_hashes(known: Any, *configs: Config) -> bool:
    """Return whether recorded hashes, also those of before, are those of some configs."""
    paired = isinstance(known, list) and len(known) == len(configs)
    return paired and all(has_hash(config, one) for config, one in zip(configs, known))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return {}  # measured again


def logged_time(folder: str | Path) -> tuple[float, int]:
    """Return the time of all training steps of a run by its logs, in seconds, and their number; 0 where they lack it.

    A logged line holds the mean time of the steps before it. Steps that a resumed run repeats count once, and
    validation does not count.

    Args:
        folder: The run's work_dir.
    """
    times: dict[int, float] = {}
    for path in sorted(Path(folder).glob('*/vis_data/scalars.json')):
        for row in read_rows(path):
            if not is_validation(row) and isinstance(row.get('time'), (int, float)):
                times[int(row['step'])] = float(row['time'])
    last, total = 0, 0.0
    for step, seconds in sorted(times.items()):
        total += (step - last) * seconds
        last = step
    return total, last


def place_of_run(folder: Path, work_dir: Path) -> str:
    """Return the place of a run, which is the present one where its folder does not name it.

    Args:
        folder: The run's work_dir.
        work_dir: Folder of all runs.

    Raises:
        ConfigError: If its record is damaged.
    """
    return read_record(folder).get('place') or place_of(work_dir)


def place_of_most(seeds_of: Mapping[str, Sequence[int]], work_dir: Path, taken: Records | None = None) -> str | None:
    """Return the place where most arms, and of several such places where most runs were made.

    Args:
        seeds_of: Arm to seeds.
        work_dir: Folder of all runs.
        taken: Runs that come from the committed record, with their places.

    Raises:
        ConfigError: If the record of a run is damaged.
    """
    runs: dict[str, list[str]] = {}
    for arm, seeds in seeds_of.items():
        for seed in seeds:
            recorded = (taken or {}).get(arm, {}).get(seed)
            folder = run_folder(work_dir, arm, seed)
            place = place_of_run(folder, work_dir) if recorded is None else recorded.record.place
            runs.setdefault(place, []).append(arm)
    return max(runs, key=lambda place: (len(set(runs[place])), len(runs[place])), default=None)


def cost_of(
    arm: Arm,
    base: Arm,
    seeds: Sequence[int],
    work_dir: Path,
    ratio: float | None,
    taken: Records | None = None,
    preferred: str | None = None,
) -> dict[str, Any]:
    """Return the relative step time and the training time of an arm.

    Times of one machine are not compared with those of another one, nor averaged with them.

    Args:
        arm: The arm.
        base: The baseline.
        seeds: The seeds of the arm.
        work_dir: Folder of all runs.
        ratio: The measured ratio of the steps, where there is one.
        taken: Runs that come from the committed record, with their times.
        preferred: The place whose training times are compared.

    Returns:
        ``step``, whether it was ``measured``, and ``seconds``, the mean over the runs of the preferred place, or of the
        one with most runs of the arm; NaN where the logs lack them. Without a measurement, ``step`` is the median over
        the seeds of the ratios of the logged step times.
    """

    def time(name: str, seed: int) -> tuple[float, int, str]:
        recorded = (taken or {}).get(name, {}).get(seed)
        if recorded is None:
            folder = run_folder(work_dir, name, seed)
            return (*logged_time(folder), place_of_run(folder, work_dir))
        one = recorded.record
        return (0.0, 0, '') if math.isnan(one.seconds) else (one.seconds, one.steps, one.place)

    seconds: dict[str, list[float]] = {}
    ratios = []
    for seed in sorted(set(seeds)):
        (spent, steps, place), (other, others, elsewhere) = time(arm.name, seed), time(base.name, seed)
        recorded = (taken or {}).get(arm.name, {}).get(seed)
        known = None if recorded is None else recorded.record.ratio
        if steps:
            seconds.setdefault(place, []).append(spent)
        if known is not None:
            ratios.append(known)
        elif steps and other and place == elsewhere and MIXED not in place:
            ratios.append(spent / steps / (other / others))
    step = ratio if ratio is not None else statistics.median(ratios) if ratios else math.nan
    most = max(seconds, key=lambda place: (place == preferred, MIXED not in place, len(seconds[place])), default=None)
    return {
        'step': step,
        'measured': ratio is not None,
        'seconds': math.nan if most is None else statistics.mean(seconds[most]),
    }
