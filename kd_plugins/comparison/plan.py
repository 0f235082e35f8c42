"""Runs of a comparison and their state."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoints import MARKER, is_readable
from ..config.data_checks import validates
from ..errors import ConfigError
from ..runner import processes
from ..runner.processes import HASH_LENGTH, config_hash, has_hash, training_length
from ..runner.resume import checkpoint_settings, newest_named
from ..runner.run_log import read_run
from ..utils.files import write_atomically

FINGERPRINT = 'comparison.json'


@dataclass(frozen=True)
class Arm:
    """One config of the comparison.

    Attributes:
        name: Name of its folder and of its column.
        path: Path of the config, as given.
        final_step: Step of the last validation.
        fingerprint: Hash of the resolved config.
        filename_tmpl: Names of the checkpoints, ``None`` for MMEngine's own.
        options: ``KEY=VALUE`` settings of this arm, after those of every run.
        environment: Environment variables that its config reads; their values are settings.
        config: The resolved config, for records of before, whose hashes were made in another way.
    """

    name: str
    path: str
    final_step: int
    fingerprint: str = ''
    filename_tmpl: str | None = None
    options: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    config: Config | None = field(default=None, compare=False, repr=False)

    def is_fingerprint(self, recorded: str) -> bool:
        """Return whether a recorded fingerprint is that of this arm.

        Args:
            recorded: The fingerprint.
        """
        return recorded == self.fingerprint or (self.config is not None and has_hash(self.config, recorded))


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
        arm: Its config.
        seed: ``randomness.seed``.
        folder: Its work_dir.
        state: ``'new'``, ``'resume'`` or ``'finished'``.
    """

    arm: Arm
    seed: int
    folder: Path
    state: str


def final_step(config: Config) -> int:
    """Return the step of the last validation: the number of epochs, or of iterations.

    Raises:
        ConfigError: If the config sets neither, or has no validation.
    """
    _, last = training_length(config)
    if not validates(config):
        raise ConfigError('val_cfg is missing, so no metrics are logged to compare')
    return last


def make_arm(path: str, config: Config, name: str | None = None, options: Sequence[str] = ()) -> Arm:
    """Return the arm of a resolved config.

    Args:
        path: Path of the config.
        config: The config, with the options.
        name: Name of the arm; by default that of the file.
        options: ``KEY=VALUE`` settings of this arm.

    Raises:
        ConfigError: If its runs would write into one folder.
    """
    settings = checkpoint_settings(config)
    if settings.get('out_dir'):
        # MMEngine appends the last part of the work_dir alone: seed_0 of every arm.
        raise ConfigError(
            f"default_hooks.checkpoint.out_dir is '{settings['out_dir']}', where the arms would overwrite each other's "
            'checkpoints; nearest: None'
        )
    template = settings.get('filename_tmpl')
    fingerprint = config_hash(config)[:HASH_LENGTH]
    variables = tuple(sorted(config.env_variables))
    name = name or Path(path).stem
    return Arm(name, path, final_step(config), fingerprint, template, tuple(options), variables, config)


def read_record(run_folder: Path) -> dict[str, Any]:
    """Return what is recorded about a run; empty without a record.

    Returns:
        ``config``, ``fingerprint``, whether it ``ended``, ``teachers``: name to the hash of their weights, and
        ``place``: hash of machine and folder, ``None`` where it is unknown, with ``+`` between those of a run that was
        resumed elsewhere.

    Raises:
        ConfigError: If the file is damaged.
    """
    path = run_folder / FINGERPRINT
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        return {
            'config': record['config'],
            'fingerprint': record['fingerprint'],
            'ended': record.get('ended', False),
            'teachers': dict(record.get('teachers', {})),
            'place': record.get('place'),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--work-dir: '{path}' is damaged ({error}), so the settings of that run are unknown; choose another "
            '--work-dir or remove that folder'
        ) from error


def check_fingerprint(run_folder: Path, arm: Arm) -> None:
    """Refuse a folder with results of other settings.

    Raises:
        ConfigError: If the folder holds a run of another config or of other settings, or a damaged record.
    """
    record = read_record(run_folder)
    if record and not arm.is_fingerprint(record['fingerprint']):
        variables = f' (the environment variables {", ".join(arm.environment)} count)' if arm.environment else ''
        raise ConfigError(
            f"--work-dir: '{run_folder}' holds a run of '{record['config']}' with other settings{variables}; "
            'choose another --work-dir or remove that folder'
        )


def write_record(
    run_folder: Path,
    arm: Arm,
    ended: bool = False,
    teachers: Mapping[str, str] | None = None,
    place: str | None = None,
) -> None:
    """Record the settings of a run, whether it ended by itself, its teachers and its place, see :func:`read_record`."""
    record = {
        'config': arm.path,
        'fingerprint': arm.fingerprint,
        'ended': ended,
        'teachers': dict(teachers or {}),
        'place': place,
    }
    write_atomically(run_folder / FINGERPRINT, f'{json.dumps(record)}\n'.encode())


def run_folder(root: str | Path, arm: str, seed: int) -> Path:
    """Return the work_dir of a run.

    >>> run_folder('runs', 'plain', 3).as_posix()
    'runs/plain/seed_3'
    """
    return Path(root) / arm / f'seed_{seed}'


def plan_runs(arms: Sequence[Arm], seeds: Sequence[int], root: str | Path) -> list[Run]:
    """Return all runs, seed by seed, so that an interrupted comparison has complete pairs.

    Args:
        arms: Baseline first.
        seeds: Values of ``randomness.seed``.
        root: Folder that holds ``ARM/seed_S``.

    Raises:
        ConfigError: If two arms share a name, a seed is repeated, or a record is damaged.
    """
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise ConfigError(f'two configs are both named {max(names, key=names.count)!r}; rename one file')
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f'--seeds {" ".join(map(str, seeds))} repeats a seed; pairs need different seeds')
    runs = []
    for seed in seeds:
        for arm in arms:
            folder = run_folder(root, arm.name, seed)
            runs.append(Run(arm, seed, folder, run_state(arm, folder)))
    return runs


def run_state(arm: Arm, folder: Path) -> str:
    """Return ``'new'``, ``'resume'`` or ``'finished'``.

    A run is finished if its log holds the metrics of the last validation, or any metrics where it ended by itself
    before, for example by an EarlyStoppingHook. An unfinished run is resumed if it has a readable checkpoint or a log.

    Args:
        arm: Its config.
        folder: Its work_dir.

    Raises:
        ConfigError: If its record is damaged.
    """
    reached = read_run(folder).last_step
    if reached is not None and (reached >= arm.final_step or read_record(folder).get('ended')):
        return 'finished'
    # A CheckpointHook with out_dir or filename_tmpl saves elsewhere, so the log counts as well.
    begun = newest_named(folder, arm.filename_tmpl) is not None or any(folder.glob('*/vis_data'))
    return 'resume' if begun else 'new'


def last_checkpoint(folder: Path, template: str | None) -> str | None:
    """Return the last checkpoint of a finished run, ``None`` where no file is readable.

    Args:
        folder: The run's work_dir.
        template: Names of the checkpoints, ``None`` for MMEngine's own.

    Raises:
        ConfigError: If the last one is lost or damaged, as in a copy that was cut off, and an earlier one is there.
    """
    newest, marker = newest_named(folder, template), folder / MARKER
    noted = Path(marker.read_text(encoding='utf-8', errors='replace').strip()).name if marker.is_file() else ''
    if newest is not None and noted and Path(newest).name != noted and not is_readable(folder / noted):
        raise ConfigError(
            f"'{folder / noted}', the last checkpoint of its run, is lost or damaged, and "
            f"'{Path(newest).name}' is an earlier one; restore the file, or remove that folder to train it again"
        )
    return newest


def train_command(run: Run, options: Sequence[str]) -> list[str]:
    """Return the command that starts or resumes a run."""
    settings = ['--cfg-options', *options, *run.arm.options, f'randomness.seed={run.seed}']
    return processes.train_command(
        processes.subcommand('train'), run.arm.path, run.folder, run.state == 'resume', settings
    )
